package gateway

import (
	"strconv"
	"strings"
	"time"

	"culvert/internal/vici"
	"culvert/internal/vpn"
)

// measurement is what list-sas says of the SAs of one connection: its IKE_SAs for people, its CHILD_SAs for the sums.
type measurement struct {
	sas      []vpn.IKESA
	readings []reading
	since    time.Time // the oldest of the SAs was made then
}

// measurements are by connection. A CHILD_SA may stand in the IKE_SA of a sibling, so it counts for the connection that it
// is named after.
type measurements map[string]*measurement

// read adds one list-sa event. known tells what is the id of a connection.
func (into measurements) read(event *vici.Message, known func(string) bool, now time.Time) {
	of := func(id string) *measurement {
		if into[id] == nil {
			into[id] = &measurement{since: now}
		}
		return into[id]
	}
	for name, m := range event.Sections() {
		if m.Get("state") != "ESTABLISHED" && m.Get("state") != "REKEYING" {
			continue
		}
		ike := readIKE(m, now)
		children := map[string][]vpn.ChildSA{name: nil}
		for _, c := range m.Section("child-sas").Sections() {
			owner := connectionOf(c.Get("name"), known)
			children[owner] = append(children[owner], readChild(c, now))
			to := of(owner)
			to.readings = append(to.readings, readReading(c, now))
			to.since = earlier(to.since, ago(c, "install-time", now))
		}
		for owner, list := range children {
			one := ike
			if one.Children = list; list == nil {
				one.Children = []vpn.ChildSA{}
			}
			to := of(owner)
			to.sas = append(to.sas, one)
			to.since = earlier(to.since, ago(m, "established", now))
		}
	}
}

// connectionOf is the connection that a CHILD_SA is named after (see childname.go); where none is known, the name itself.
func connectionOf(child string, known func(string) bool) string {
	for id := child; ; {
		if known(id) {
			return id
		}
		at := strings.LastIndexByte(id, '-')
		if at < 0 {
			return child
		}
		id = id[:at]
	}
}

func readIKE(m *vici.Message, now time.Time) vpn.IKESA {
	return vpn.IKESA{
		Version:      "v" + m.Get("version"),
		LocalAddress: m.Get("local-host"), LocalPort: number[int](m, "local-port"),
		RemoteAddress: m.Get("remote-host"), RemotePort: number[int](m, "remote-port"),
		Initiator: m.Get("initiator") == "yes", InitiatorSPI: m.Get("initiator-spi"), ResponderSPI: m.Get("responder-spi"),
		NATLocal: m.Get("nat-local") == "yes", NATRemote: m.Get("nat-remote") == "yes",
		Encryption: sized(m, "encr"), Integrity: sized(m, "integ"), PRF: m.Get("prf-alg"), Group: m.Get("dh-group"),
		EstablishedAt: moment(ago(m, "established", now)),
	}
}

func readChild(m *vici.Message, now time.Time) vpn.ChildSA {
	encapsulation := "none"
	if m.Get("encap") == "yes" {
		encapsulation = "udp"
	}
	return vpn.ChildSA{
		Protocol: strings.ToLower(m.Get("protocol")), SPIIn: m.Get("spi-in"), SPIOut: m.Get("spi-out"), Encapsulation: encapsulation,
		Encryption: sized(m, "encr"), Integrity: sized(m, "integ"), Group: m.Get("dh-group"),
		LocalTS: append([]string{}, m.List("local-ts")...), RemoteTS: append([]string{}, m.List("remote-ts")...),
		InstalledAt: moment(ago(m, "install-time", now)),
	}
}

func readReading(m *vici.Message, now time.Time) reading {
	r := reading{
		key: m.Get("uniqueid") + "/" + m.Get("spi-in") + "/" + m.Get("spi-out"),
		usage: usage{BytesIn: number[uint64](m, "bytes-in"), PacketsIn: number[uint64](m, "packets-in"),
			BytesOut: number[uint64](m, "bytes-out"), PacketsOut: number[uint64](m, "packets-out")},
	}
	if m.Get("use-in") != "" {
		r.lastIn = ago(m, "use-in", now)
	}
	if m.Get("use-out") != "" {
		r.lastOut = ago(m, "use-out", now)
	}
	return r
}

// sized is an algorithm with the length of its key where it has several.
func sized(m *vici.Message, kind string) string {
	name := m.Get(kind + "-alg")
	if size := m.Get(kind + "-keysize"); name != "" && size != "" {
		name += "_" + size
	}
	return name
}

// ago is the moment that charon names by its age in seconds; now where it names none.
func ago(m *vici.Message, key string, now time.Time) time.Time {
	return now.Add(-time.Duration(number[int64](m, key)) * time.Second)
}

func number[T int | int64 | uint64](m *vici.Message, key string) T {
	n, err := strconv.ParseUint(m.Get(key), 10, 63)
	if err != nil {
		return 0
	}
	return T(n)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// moment is a time as the API writes it, nil for none.
func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(apiTime)
	return &text
}

// steady gives SAs that were there before the times that they had then: charon gives ages in whole seconds, so that the moment
// comes out a little different each time.
func steady(before, now []vpn.IKESA) []vpn.IKESA {
	was := map[string]*string{}
	for _, sa := range before {
		was[sa.InitiatorSPI+sa.ResponderSPI] = sa.EstablishedAt
		for _, c := range sa.Children {
			was[c.SPIIn+" "+c.SPIOut] = c.InstalledAt
		}
	}
	keep := func(key string, at **string) {
		if then, known := was[key]; known {
			*at = then
		}
	}
	for i := range now {
		keep(now[i].InitiatorSPI+now[i].ResponderSPI, &now[i].EstablishedAt)
		for j := range now[i].Children {
			c := &now[i].Children[j]
			keep(c.SPIIn+" "+c.SPIOut, &c.InstalledAt)
		}
	}
	return now
}
