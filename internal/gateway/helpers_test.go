package gateway

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/lab"
	"culvert/internal/testbox"
	"culvert/internal/vici"
	"culvert/internal/vpn"
)

const testPSK = "kT7-wq2Lz9_Xm"

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

// testConnection is a connection of the router 192.0.2.1 with the branch 192.0.2.2.
func testConnection(id string) vpn.ConnectionSpec {
	return vpn.ConnectionSpec{
		ID: id, Service: "service", AdminStateUp: true,
		LocalAddress: netip.MustParseAddr("192.0.2.1"), PeerAddress: "192.0.2.2", LocalID: "192.0.2.1", PeerID: "192.0.2.2",
		PSK: testPSK, Local: prefixes("10.1.0.0/24"), Peer: prefixes("10.2.0.0/24"), Initiate: true, MTU: 1400,
		IKE: vpn.IKESpec{Version: "v2", Encryption: "aes-256", Auth: "sha256", Group: "group19", Lifetime: 28800},
		ESP: vpn.ESPSpec{Protocol: "esp", Encryption: "aes-256", Auth: "sha256", PFS: "group19", Lifetime: 3600},
		DPD: vpn.DPDSpec{Action: "restart", Interval: 1, Timeout: 5},
	}
}

func testSpec(router string, conns ...vpn.ConnectionSpec) vpn.Spec {
	return vpn.Spec{
		Router: router, Rev: 1,
		External: &vpn.Link{Port: "e0" + router, Network: "e0" + router, MAC: "fa:16:3e:00:00:01", MTU: 1500,
			Addresses: prefixes("192.0.2.1/24"), Gateways: addrs("192.0.2.254")},
		Internal: []vpn.Link{{Port: "10" + router, Network: "10" + router, MAC: "fa:16:3e:00:00:02", MTU: 1500,
			Addresses: prefixes("10.1.0.1/24")}},
		Services:    []vpn.ServiceSpec{{ID: "service", AdminStateUp: true}},
		Connections: conns,
	}
}

// branchSwanctl is the hand-written other side of testConnection.
func branchSwanctl(psk string, childs ...string) string {
	return fmt.Sprintf(`connections {
  culvert {
    version = 2
    local_addrs = 192.0.2.2
    remote_addrs = 192.0.2.1
    proposals = aes256-sha256-ecp256
    local {
      auth = psk
    }
    remote {
      auth = psk
    }
    children {
      %s
    }
  }
}
secrets {
  ike-culvert {
    secret = "%s"
  }
}
`, strings.Join(childs, "\n      "), psk)
}

func child(name, local, remote string) string {
	return fmt.Sprintf("%s { local_ts = %s\n remote_ts = %s\n esp_proposals = aes256-sha256-ecp256\n }", name, local, remote)
}

// fixture is a gateway with a reader of its reports.
type fixture struct {
	t      *testing.T
	runDir string
	*Gateway

	rev    int64 // of the Spec that was set last
	mu     sync.Mutex
	latest map[string]vpn.Report
	change chan struct{}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root: network namespaces")
	}
}

// tempDir is short, unlike t.TempDir: unix sockets lie below it.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// testPlane is the data plane that a test asks for: in a guest, whose kernel does ESP, the gateway finds that out by itself.
func testPlane() string {
	if testbox.KernelESP() {
		return Auto
	}
	return Userland
}

// untilDone is the test's output until it is done: a charon that was let go may end, and be logged, after that.
func untilDone(t *testing.T) io.Writer {
	w := &testLog{to: t.Output()}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.to = io.Discard
	})
	return w
}

type testLog struct {
	mu sync.Mutex
	to io.Writer
}

func (w *testLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

func newFixture(t *testing.T, runDir string, with ...func(*Config)) *fixture {
	t.Helper()
	needRoot(t)
	log := slog.New(slog.NewTextHandler(untilDone(t), &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := Config{RunDir: runDir, Dataplane: testPlane(), Log: log}
	for _, set := range with {
		set(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if testbox.KernelESP() && g.Dataplane() != Kernel {
		t.Fatalf("the data plane is %s on a kernel that does ESP", g.Dataplane())
	}
	f := &fixture{t: t, runDir: runDir, Gateway: g, latest: map[string]vpn.Report{}, change: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r := range g.Reports() {
			f.mu.Lock()
			f.latest[r.Router] = r
			close(f.change)
			f.change = make(chan struct{})
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return f
}

// removeAfter takes a router away after the test, whatever Gateway is there then.
func removeAfter(t *testing.T, runDir, router string) {
	t.Cleanup(func() {
		g, err := New(Config{RunDir: runDir, Dataplane: testPlane()})
		if err != nil {
			t.Error(err)
			return
		}
		defer g.Close()
		if t.Failed() {
			if text, err := os.ReadFile(g.folderOf(router) + "/charon.log"); err == nil {
				t.Logf("charon.log of the router:\n%s", tail(string(text), 30000))
			}
		}
		if err := g.Remove(context.Background(), router); err != nil {
			t.Error(err)
		}
	})
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// set gives the Spec a new revision; the await methods then look only at reports of that one.
func (f *fixture) set(spec vpn.Spec) {
	f.t.Helper()
	f.rev++
	spec.Rev = f.rev
	if err := f.Set(f.t.Context(), spec); err != nil {
		f.t.Fatal(err)
	}
}

// await waits until a connection's report satisfies a condition.
func (f *fixture) await(router, id, what string, within time.Duration, ok func(vpn.ConnectionReport) bool) vpn.ConnectionReport {
	f.t.Helper()
	deadline := time.After(within)
	var last vpn.ConnectionReport
	for {
		f.mu.Lock()
		change, report := f.change, f.latest[router]
		f.mu.Unlock()
		for _, c := range report.Connections {
			if c.ID == id {
				last = c
				if report.Rev == f.rev && ok(c) {
					return c
				}
			}
		}
		select {
		case <-change:
		case <-deadline:
			f.t.Fatalf("connection %s is not %s within %s; last: %s %+v", id, what, within, last.State, last.Reason)
		}
	}
}

func (f *fixture) awaitUp(router, id string) {
	f.t.Helper()
	f.await(router, id, "up", 15*time.Second, func(c vpn.ConnectionReport) bool { return c.State == vpn.StateUp })
}

func (f *fixture) awaitReason(router, id string, codes ...string) vpn.Reason {
	f.t.Helper()
	c := f.await(router, id, "down with "+strings.Join(codes, " or "), 15*time.Second, func(c vpn.ConnectionReport) bool {
		for _, code := range codes {
			if c.Reason != nil && c.Reason.Code == code {
				return true
			}
		}
		return false
	})
	return *c.Reason
}

// spis answers the SPIs of a connection's CHILD_SAs, behind their names without marks, as charon itself lists them, over a connection of the test's own.
func (f *fixture) spis(router, id string) string {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := vici.Dial(ctx, folder(f.folderOf(router)).socket())
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	var out []string
	err = conn.Stream(ctx, "list-sas", "list-sa", vici.NewMessage().Set("ike", id), func(m *vici.Message) error {
		for _, sa := range m.Sections() {
			for _, child := range sa.Section("child-sas").Sections() {
				out = append(out, withoutMarks(child.Get("name"))+" "+child.Get("spi-in")+" "+child.Get("spi-out"))
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(out, "; ")
}

func withoutMarks(child string) string { return agreement(agreement(child)) }

// settle waits until a connection that this gateway initiated has been rekeyed once for its PFS group's sake, and answers
// its SPIs, which then stay.
func (f *fixture) settle(router, id string) string {
	f.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r := f.find(router)
		r.mu.Lock()
		c := r.conns[id]
		proven := c.agreement() != "" && c.proven == c.agreement()
		r.mu.Unlock()
		if spis := f.spis(router, id); proven && spis != "" && !strings.Contains(spis, ";") {
			return spis
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("connection %s was not rekeyed; it has the SPIs %s", id, f.spis(router, id))
		}
	}
}

func startBranch(t *testing.T, cfg lab.Config) *lab.Branch {
	t.Helper()
	cfg.Kernel = testbox.KernelESP()
	b, err := lab.StartBranch(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			if text, err := b.Log(); err == nil {
				t.Logf("charon.log of the branch:\n%s", tail(text, 30000))
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func startHost(t *testing.T, cfg lab.HostConfig) *lab.Host {
	t.Helper()
	h, err := lab.StartHost(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// output runs a program, which must succeed.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
