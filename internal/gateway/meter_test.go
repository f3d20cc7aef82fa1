package gateway

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"culvert/internal/testbox"
	"culvert/internal/vpn"
)

func quickly(c *Config) { c.Pulse = 200 * time.Millisecond }

// measured waits until a connection's statistics satisfy a condition.
func (f *fixture) measured(id, what string, within time.Duration, ok func(vpn.Statistics) bool) vpn.Statistics {
	f.t.Helper()
	var last vpn.Statistics
	for deadline := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		for _, s := range f.Statistics() {
			if last = s; s.Connection == id && ok(s) {
				return s
			}
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("connection %s: not %s within %s; last: %+v", id, what, within, last)
		}
	}
}

// send pings from the host and answers how many requests were answered.
func (s *site) send(to string, count int, interval time.Duration) int {
	s.t.Helper()
	got, err := s.host.Ping(s.t.Context(), netip.MustParseAddr("10.1.0.10"), netip.MustParseAddr(to), count, interval)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.Received
}

// salt is what the marks in names are made with.
func (s *site) salt() marker {
	s.t.Helper()
	l, err := readLoaded(folder(s.folderOf(s.router)))
	if err != nil {
		s.t.Fatal(err)
	}
	return l.Salt
}

// rekey asks charon for new keys, over a VICI connection of the test's own.
func (s *site) rekey(what string) {
	s.t.Helper()
	cfg, err := configure(testConnection("c1"), Userland, s.salt())
	if err != nil {
		s.t.Fatal(err)
	}
	name := map[string]string{"ike": "c1", "child": cfg.children[0]}[what]
	output(s.t, "swanctl", "--rekey", "--"+what, name, "--uri", "unix://"+folder(s.folderOf(s.router)).socket())
}

func TestCountersMatchWhatWasSent(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17401-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	spec := testSpec(s.router, testConnection("c1"))
	s.set(spec)
	s.awaitUp(s.router, "c1")
	s.settle(s.router, "c1")
	start := time.Now()
	// A ping of the lab is 84 bytes, and charon counts those of the IP packet.
	expect := func(what string, packets uint64) vpn.Statistics {
		t.Helper()
		got := s.measured("c1", what, 5*time.Second, func(st vpn.Statistics) bool { return st.PacketsIn >= packets && st.PacketsOut >= packets })
		if got.PacketsIn != packets || got.PacketsOut != packets || got.BytesIn != 84*packets || got.BytesOut != 84*packets {
			t.Errorf("%s: %d packets, %d bytes in; %d, %d out; want %d packets", what, got.PacketsIn, got.BytesIn, got.PacketsOut, got.BytesOut, packets)
		}
		return got
	}
	if n := s.send("10.2.0.1", 20, 5*time.Millisecond); n != 20 {
		t.Fatalf("%d of 20 pings answered", n)
	}
	first := expect("20 pings", 20)
	if first.LastIn == nil || first.LastOut == nil || first.Traffic != vpn.TrafficBoth || first.EstablishedAt == nil {
		t.Errorf("after 20 pings: %+v", first)
	}
	want := []vpn.IKESA{{Version: "v2", LocalAddress: "192.0.2.1", LocalPort: 4500, RemoteAddress: "192.0.2.2", RemotePort: 4500, Initiator: true,
		NATLocal: false, NATRemote: false, Encryption: "AES_CBC_256", Integrity: "HMAC_SHA2_256_128", PRF: "PRF_HMAC_SHA2_256", Group: "ECP_256",
		Children: []vpn.ChildSA{{Protocol: "esp", Encapsulation: "udp", Encryption: "AES_CBC_256", Integrity: "HMAC_SHA2_256_128", Group: "ECP_256",
			LocalTS: []string{"10.1.0.0/24"}, RemoteTS: []string{"10.2.0.0/24"}}}}}
	if testbox.KernelESP() { // it has no need of UDP where there is no NAT; userland has no other way
		want[0].LocalPort, want[0].RemotePort, want[0].Children[0].Encapsulation = 500, 500, "none"
	}
	changing := cmp.Options{cmpopts.IgnoreFields(vpn.IKESA{}, "InitiatorSPI", "ResponderSPI", "EstablishedAt", "NATLocal", "NATRemote"), cmpopts.IgnoreFields(vpn.ChildSA{}, "SPIIn", "SPIOut", "InstalledAt")}
	if diff := cmp.Diff(want, first.SAs, changing); diff != "" {
		t.Errorf("SAs (-want +got):\n%s", diff)
	}
	child := first.SAs[0].Children[0]
	if spis := s.spis(s.router, "c1"); spis != "c1 "+child.SPIIn+" "+child.SPIOut {
		t.Errorf("SPIs %s and %s, charon says %s", child.SPIIn, child.SPIOut, spis)
	}

	idle := s.measured("c1", "measured again", 5*time.Second, func(st vpn.Statistics) bool { return *st.MeasuredAt > *first.MeasuredAt })
	if diff := cmp.Diff(first, idle, cmpopts.IgnoreFields(vpn.Statistics{}, "MeasuredAt")); diff != "" {
		t.Errorf("nothing happened, and it is said otherwise (-before +after):\n%s", diff)
	}

	s.rekey("child")
	s.measured("c1", "rekeyed", 5*time.Second, func(st vpn.Statistics) bool { return st.ChildRekeys == first.ChildRekeys+1 })
	if n := s.send("10.2.0.1", 20, 5*time.Millisecond); n != 20 {
		t.Fatalf("%d of 20 pings answered after a rekey", n)
	}
	expect("20 more over a rekey", 40)
	s.rekey("ike")
	s.measured("c1", "rekeyed", 5*time.Second, func(st vpn.Statistics) bool { return st.IKERekeys == 1 })

	// Another agent goes on where this one was, and knows since when the tunnel stands.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := s.send("10.2.0.1", 20, 5*time.Millisecond); n != 20 {
		t.Fatalf("%d of 20 pings answered without an agent", n)
	}
	s.fixture = newFixture(t, s.runDir, quickly)
	s.set(spec)
	s.awaitUp(s.router, "c1")
	after := expect("20 more while no agent was there", 60)
	if after.ChildRekeys != first.ChildRekeys+1 || after.IKERekeys != 1 || *after.EstablishedAt != *first.EstablishedAt || *after.CountedSince != *first.CountedSince {
		t.Errorf("another agent: rekeys %d and %d, up since %s, counted since %s; before %d and %d, %s, %s", after.ChildRekeys, after.IKERekeys, *after.EstablishedAt,
			*after.CountedSince, first.ChildRekeys, first.IKERekeys, *first.EstablishedAt, *first.CountedSince)
	}
	if s.Writes() != 0 {
		t.Errorf("counting took %d VICI writes", s.Writes())
	}
	t.Logf("20 pings, rekeys and a restart in %s", time.Since(start))
}

func TestOneWayTraffic(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17402-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	s.set(testSpec(s.router, testConnection("c1")))
	s.awaitUp(s.router, "c1")
	s.answers("10.2.0.1")
	if err := s.branch.Filter(t.Context(), []string{"ip saddr 10.1.0.0/24 drop"}, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stop := make(chan int)
	go func() { stop <- s.send("10.2.0.1", 120, 100*time.Millisecond) }()
	warned := s.await(s.router, "c1", "warned of", 20*time.Second, upWith("one_way_traffic"))
	took := time.Since(began)
	t.Logf("one-way traffic said after %s: %s; ours: %s; theirs: %s; hint: %s", took, warned.Reason.Summary, warned.Reason.Ours, warned.Reason.Theirs, warned.Reason.Hint)
	if took < oneWayAfter || took > oneWayAfter+3*time.Second {
		t.Errorf("said after %s", took)
	}
	if !strings.HasPrefix(warned.Reason.Ours, "sent: ") || warned.Reason.Theirs == "" || warned.Reason.Hint == "" || warned.Reason.Side != "path" {
		t.Errorf("reason: %+v", warned.Reason)
	}
	if n := <-stop; n != 0 {
		t.Fatalf("%d pings were answered", n)
	}
	if err := s.branch.Filter(t.Context(), nil, nil); err != nil {
		t.Fatal(err)
	}
	s.answers("10.2.0.1")
	s.await(s.router, "c1", "up without a reason", 5*time.Second, upWith(""))
}

// What was counted and how it was asked for: one list-sas a pulse while something is up, none else.
func TestMeterAsksSeldom(t *testing.T) {
	t.Parallel()
	s := newSite(t, "4ea17403-1111-4111-8111-111111111111", branchSwanctl(testPSK, netA), quickly)
	c := testConnection("c1")
	c.Initiate = false
	s.set(testSpec(s.router, c))
	s.awaitReason(s.router, "c1", "not_initiated")
	r := s.find(s.router)
	looks := func(d time.Duration) int64 {
		before := r.meter.asked.Load()
		time.Sleep(d) // the span that is counted, not a wait for something
		return r.meter.asked.Load() - before
	}
	if n := looks(time.Second); n != 0 {
		t.Errorf("nothing is up, and charon was asked %d times", n)
	}
	c.Initiate = true
	s.set(testSpec(s.router, c))
	s.awaitUp(s.router, "c1")
	if n := looks(2 * time.Second); n < 5 || n > 10 {
		t.Errorf("asked %d times in 2 s, want one each 200 ms", n)
	}
	s.set(testSpec(s.router))
	if err := s.Remove(t.Context(), s.router); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Statistics()); got != "[]" {
		t.Errorf("a removed router has the statistics %s", got)
	}
}
