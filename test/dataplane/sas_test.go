package dataplane

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"culvert/internal/sitetest"
	"culvert/internal/vici"
)

// childSA is one in use, as the router's charon lists it.
type childSA struct {
	connection, name, spis string
	age                    int // seconds since it was made
	rekeyIn, endIn         int // seconds until charon begins to rekey it, and until it ends
}

// ikeSA is one that is established, as the router's charon lists it.
type ikeSA struct {
	connection, spis string
	rekeyIn          int // seconds until charon begins to rekey it
}

// childSAs are those in use, in order of their making: none that was replaced and waits for its end.
func childSAs(s *sitetest.Site) (out []childSA) {
	s.T.Helper()
	listSAs(s, func(connection string, sa *vici.Message) {
		for _, child := range sa.Section("child-sas").Sections() {
			if child.Get("state") == "INSTALLED" {
				out = append(out, childSA{connection, child.Get("name"), child.Get("spi-in") + " " + child.Get("spi-out"),
					number(child, "install-time"), number(child, "rekey-time"), number(child, "life-time")})
			}
		}
	})
	slices.SortFunc(out, func(a, b childSA) int { return strings.Compare(a.spis, b.spis) })
	return out
}

// ikeSAs are those in use, likewise.
func ikeSAs(s *sitetest.Site) (out []ikeSA) {
	s.T.Helper()
	listSAs(s, func(connection string, sa *vici.Message) {
		if sa.Get("state") == "ESTABLISHED" {
			out = append(out, ikeSA{connection, sa.Get("initiator-spi") + " " + sa.Get("responder-spi"), number(sa, "rekey-time")})
		}
	})
	return out
}

func number(m *vici.Message, key string) int {
	n, _ := strconv.Atoi(m.Get(key)) // charon writes a number or leaves it out
	return n
}

// listSAs asks the router's charon for all its IKE_SAs.
func listSAs(s *sitetest.Site, take func(connection string, sa *vici.Message)) {
	s.T.Helper()
	ctx, cancel := context.WithTimeout(s.T.Context(), 5*time.Second)
	defer cancel()
	conn, err := vici.Dial(ctx, s.RouterFile("charon.vici"))
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	err = conn.Stream(ctx, "list-sas", "list-sa", nil, func(m *vici.Message) error {
		for name, sa := range m.Sections() {
			take(name, sa)
		}
		return nil
	})
	if err != nil {
		s.T.Fatal(err)
	}
}

// stable are the connections that have one CHILD_SA, which will stay: the gateway has rekeyed it once, to see whether the
// peer has the same PFS group, or would have done so by now.
func stable(s *sitetest.Site) map[string]bool {
	s.T.Helper()
	text, err := os.ReadFile(s.RouterFile("loaded.json"))
	var l struct{ Proven map[string]string }
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		s.T.Fatal(err)
	}
	out, several := map[string]bool{}, map[string]bool{}
	for _, c := range childSAs(s) {
		agreed := c.name[:strings.LastIndexByte(c.name, '-')]
		out[c.connection] = !several[c.connection] && (l.Proven[c.connection] == agreed || c.age >= 4)
		several[c.connection] = true
	}
	return out
}

// settle waits until a tunnel is stable and answers its SPIs.
func settle(t *testing.T, c *sitetest.Tunnel) (spis string) {
	t.Helper()
	sitetest.Poll(t, 15*time.Second, "one CHILD_SA that stays", func() bool {
		return stable(c.Site)[c.ID]
	})
	return spisOf(c)
}

// spisOf are those of a tunnel's CHILD_SAs in use.
func spisOf(c *sitetest.Tunnel) (spis string) {
	c.Site.T.Helper()
	for _, sa := range childSAs(c.Site) {
		if sa.connection == c.ID {
			spis += sa.spis
		}
	}
	return spis
}

// ikeOf are a tunnel's IKE_SAs in use.
func ikeOf(c *sitetest.Tunnel) (out []ikeSA) {
	c.Site.T.Helper()
	return slices.DeleteFunc(ikeSAs(c.Site), func(sa ikeSA) bool { return sa.connection != c.ID })
}

// onlyIKE waits until a tunnel has one IKE_SA, another than this one if that is given, and answers its SPIs.
func onlyIKE(c *sitetest.Tunnel, but string) (spis string) {
	c.Site.T.Helper()
	sitetest.Poll(c.Site.T, 10*time.Second, "one IKE_SA in use, and another than "+but, func() bool {
		sas := ikeOf(c)
		if len(sas) != 1 || sas[0].spis == but {
			return false
		}
		spis = sas[0].spis
		return true
	})
	return spis
}
