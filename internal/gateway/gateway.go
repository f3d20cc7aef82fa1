package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"culvert/internal/vpn"
)

// Config of a Gateway.
type Config struct {
	// RunDir holds the runtime state, one folder a router. Its path must be short (at most 50 bytes): unix sockets below
	// it may have 107.
	RunDir string
	// Physical maps provider:physical_network to a host interface or an existing bridge.
	Physical map[string]string
	// Dataplane is Auto (also ""), Kernel or Userland: who does ESP. Auto takes the kernel where it can.
	Dataplane string
	// Bind puts a router, by id, into a network namespace that is there already, by name or HostNetwork: only charon with its
	// SAs and routes, the guard's table and, for userland ESP, addresses on lo are ours in it.
	Bind map[string]string
	// Pulse is the time between two looks at what the tunnels carry, and between two active probes; 0: 5 s.
	Pulse time.Duration
	// Linger is how long the guard still holds a pair of selectors that the Spec has no longer, as of a connection that is
	// deleted to be created again; 0: 30 s. What a Removed router had goes at once.
	Linger time.Duration
	Log    *slog.Logger // nil: none
}

// Gateway makes Specs true on this machine. Its methods may be called from several goroutines.
type Gateway struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	program string // charon-systemd
	plane   string // Kernel or Userland, for charons that are started from now on
	host    *netlink.Handle
	home    netns.NsHandle // the namespace of this process, whatever its threads do later
	links   sync.Mutex     // bridges are shared between routers
	reports *publisher
	journal *journal
	names   *names
	written atomic.Int64 // VICI writes of sessions that ended
	tables  sync.Once    // said that the kernel has no nft tables
	running sync.WaitGroup
	closed  context.Context
	close   context.CancelFunc

	mu      sync.Mutex
	routers map[string]*router
}

const longestRunDir = 50

// New checks what the gateway needs of the machine: root, charon-systemd, a short RunDir and the wanted data plane. It
// touches no router; those of an earlier process are adopted by Set.
func New(cfg Config) (*Gateway, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("gateway: network namespaces and IPsec need root")
	}
	program, err := findCharon()
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if !filepath.IsAbs(cfg.RunDir) || len(cfg.RunDir) > longestRunDir {
		return nil, fmt.Errorf("gateway: run directory %q must be an absolute path of at most %d bytes", cfg.RunDir, longestRunDir)
	}
	if err := os.MkdirAll(cfg.RunDir, 0o700); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	log := cfg.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := CheckBind(cfg.Bind); err != nil {
		return nil, fmt.Errorf("gateway: bind: %w", err)
	}
	plane, err := pickDataplane(cfg.Dataplane, log)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	events, err := openJournal(filepath.Join(cfg.RunDir, "events"), log)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	host, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("gateway: netlink: %w", err)
	}
	home, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("gateway: the host's network namespace: %w", err)
	}
	if cfg.Linger == 0 {
		cfg.Linger = defaultLinger
	}
	g := &Gateway{home: home, cfg: cfg, log: log, now: time.Now, program: program, plane: plane, host: host, reports: newPublisher(), journal: events, routers: map[string]*router{}}
	g.closed, g.close = context.WithCancel(context.Background())
	g.names = newNames(g.now)
	g.running.Add(3)
	go g.follow()
	go g.keepLogsShort()
	go g.followNames()
	return g, nil
}

var routerID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z-]{0,39}$`) // it becomes a folder's and a namespace's name

func (g *Gateway) folderOf(router string) string { return filepath.Join(g.cfg.RunDir, router) }

func (g *Gateway) router(id string) (*router, error) {
	if !routerID.MatchString(id) {
		return nil, fmt.Errorf("router id %q cannot name a namespace", id)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed.Err() != nil {
		return nil, errors.New("the gateway is closed")
	}
	r := g.routers[id]
	if r == nil {
		r = newRouter(g, id)
		g.routers[id] = r
	}
	return r, nil
}

// Set makes a Spec true, whatever was there before, and returns when namespace, links, routes, guard, charon and
// connections are in place; initiations go on in the background. Setting the same Spec again is no work: no VICI write
// and nothing that disturbs traffic. A Removed Spec is Remove. Either way a report follows; it says why Set failed.
func (g *Gateway) Set(ctx context.Context, spec vpn.Spec) error {
	if spec.Removed {
		err := during("remove the router", g.Remove(ctx, spec.Router))
		report := vpn.Report{Router: spec.Router, Rev: spec.Rev, Ready: err == nil}
		if err != nil {
			report.Reason = stamp(gatewayFailed(err), nil, g.now())
		}
		g.reports.post(report)
		return err
	}
	for {
		r, err := g.router(spec.Router)
		if err == nil {
			err = r.set(ctx, g.bound(spec))
		}
		if errors.Is(err, errRemoved) {
			continue // the next look finds a new one, or a closed gateway
		}
		if err != nil {
			return fmt.Errorf("gateway: %w", err)
		}
		return nil
	}
}

// Remove takes everything of a router away: its SAs (each peer gets a DELETE), charon, namespace, links, files, and
// bridges that nothing else is attached to. A router that is not there is no error.
func (g *Gateway) Remove(ctx context.Context, router string) error {
	for {
		r, err := g.router(router)
		if err == nil {
			err = g.removeOne(ctx, r)
		}
		if errors.Is(err, errRemoved) {
			continue // by another call, and perhaps made anew since
		}
		if err != nil {
			return fmt.Errorf("gateway: remove router %s: %w", router, err)
		}
		return nil
	}
}

func (g *Gateway) removeOne(ctx context.Context, r *router) error {
	r.op.Lock()
	defer r.op.Unlock()
	if g.find(r.id) != r {
		return errRemoved
	}
	err := r.remove(ctx)
	if left, e := g.Routers(); e == nil && len(left) == 0 {
		g.journal.clear()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.routers, r.id) // also after an error: the next call starts from what is there
	return err
}

func (g *Gateway) find(id string) *router {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.routers[id]
}

// Reports hands out the latest report of each router: after each Set, and on each change of a connection's state. A
// slow reader gets the newest one. The channel is closed by Close.
func (g *Gateway) Reports() <-chan vpn.Report { return g.reports.out }

// Routers answers the routers that are on this machine below RunDir, sorted: after a restart, those to Set or Remove.
func (g *Gateway) Routers() ([]string, error) {
	entries, err := os.ReadDir(g.cfg.RunDir)
	if err != nil {
		return nil, fmt.Errorf("gateway: routers: %w", err)
	}
	var out []string
	for _, e := range entries {
		if e.IsDir() && routerID.MatchString(e.Name()) {
			out = append(out, e.Name())
		}
	}
	sort.Strings(out)
	return out, nil
}

// Writes counts the VICI commands that change something which were sent since New.
func (g *Gateway) Writes() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.written.Load()
	for _, r := range g.routers {
		r.mu.Lock()
		if r.session != nil {
			n += r.session.conn.Writes()
		}
		r.mu.Unlock()
	}
	return n
}

// Dataplane answers Kernel or Userland: what new routers get.
func (g *Gateway) Dataplane() string { return g.plane }

// Close lets go without touching a tunnel: charons and namespaces stay, for the next Gateway on the same RunDir.
func (g *Gateway) Close() error {
	g.mu.Lock()
	already := g.closed.Err() != nil
	g.close()
	routers := make([]*router, 0, len(g.routers))
	for _, r := range g.routers {
		routers = append(routers, r)
	}
	g.mu.Unlock()
	if already {
		return nil
	}
	for _, r := range routers {
		r.letGo()
	}
	g.running.Wait()
	for _, r := range routers {
		r.op.Lock()
		r.forgetNamespace()
		r.op.Unlock()
	}
	close(g.reports.stop)
	g.host.Close()
	_ = g.home.Close()
	return g.journal.close()
}
