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
}

// childSAs are those in use, in order of their making: none that was replaced and waits for its end.
func childSAs(s *sitetest.Site) (out []childSA) {
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
			for _, child := range sa.Section("child-sas").Sections() {
				if child.Get("state") == "INSTALLED" {
					age, _ := strconv.Atoi(child.Get("install-time"))
					out = append(out, childSA{name, child.Get("name"), child.Get("spi-in") + " " + child.Get("spi-out"), age})
				}
			}
		}
		return nil
	})
	if err != nil {
		s.T.Fatal(err)
	}
	slices.SortFunc(out, func(a, b childSA) int { return strings.Compare(a.spis, b.spis) })
	return out
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
