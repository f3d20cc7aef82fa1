package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/client"
	"culvert/internal/gateway"
	"culvert/internal/lab"
	"culvert/internal/vici"
)

// The scene: Culvert's router and a raw charon, each with a tunnel of its own to one and the same peer. The addresses are for
// documentation (RFC 5737) or private, and live in network namespaces alone.
const (
	outerCIDR   = "198.51.100.0/24"
	peerIP      = "198.51.100.40"
	peerCIDR    = "192.168.40.0/24"
	peerHost    = "192.168.40.1"
	culvertCIDR = "10.10.0.0/24"
	rawIP       = "198.51.100.50"
	rawCIDR     = "10.20.0.0/24"
	rawHost     = "10.20.0.1"
	psk         = "bench-kT7-wq2Lz9-Xm"
	proposal    = "aes256-sha256-modp2048" // what a policy's defaults come to

	// runDir is always the same one, so that the next run finds what a killed one left.
	runDir   = "/run/culvert-bench"
	peerName = "cvb-peer"
	rawName  = "cvb-raw"
)

const (
	tunnelRuns = 30
	// pollEvery is the pause between two GETs: the clients take no core from the daemons, and the answer is at most so late.
	pollEvery  = 2 * time.Millisecond
	tunnelWait = 20 * time.Second
	// settle lets a router finish what follows a DELETE: taking a rule out of its guard waits for the kernel.
	settle = 50 * time.Millisecond
)

// tunnels measures POST-to-ACTIVE against the same tunnel laid by VICI alone.
func (b *bench) tunnels(ctx context.Context) (err error) {
	unlock, err := lockRunDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.sweep(), unlock()) }()
	if err := b.sweep(); err != nil {
		return fmt.Errorf("clean up after an earlier run: %w", err)
	}
	c, err := b.startCulvert(ctx, "tunnels", "--gateway", "local", "--dataplane", "userland", "--run-dir", runDir+"/gw")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	s := &scene{culvert: c, caller: newCaller(c.api.Token)}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.build(ctx); err != nil {
		return fmt.Errorf("build the scene: %w", err)
	}
	progress("a router and a raw charon stand; %d tunnels of each", tunnelRuns)
	got, limit, err := s.measure(ctx)
	if err != nil {
		return err
	}
	b.add(newRow("post_to_active", aim{ratio: 2, p95: 100 * time.Millisecond}, got, limit))
	return nil
}

// lockRunDir keeps two runs apart.
func lockRunDir() (unlock func() error, err error) {
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(runDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another benchmark runs"), f.Close())
	}
	return func() error { return errors.Join(os.RemoveAll(runDir), f.Close()) }, nil
}

// sweep takes away all that a run makes on the machine. Without a server it has no deadline to keep but its own.
func (b *bench) sweep() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := lab.Sweep(runDir, rawName, peerName)
	if _, e := os.Stat(runDir + "/gw"); errors.Is(e, fs.ErrNotExist) {
		return err
	}
	if out, e := exec.CommandContext(ctx, b.binary, "gateway", "down", "--run-dir", runDir+"/gw").CombinedOutput(); e != nil {
		err = errors.Join(err, fmt.Errorf("gateway down: %w: %s", e, bytes.TrimSpace(out)))
	}
	return err
}

// scene is all that stands while tunnels are measured.
type scene struct {
	*culvert
	*caller
	connection []byte // the body of the POST

	peer, rawBranch *lab.Branch
	peerVICI, raw   *vici.Conn
}

// build lays everything but the tunnels.
func (s *scene) build(ctx context.Context) error {
	wan, outer, err := s.resources(ctx)
	if err != nil {
		return err
	}
	bridge := gateway.BridgeName(wan)
	s.peer, err = lab.StartBranch(ctx, lab.Config{Name: peerName, Bridge: bridge, Address: onOuter(peerIP),
		LAN: []netip.Addr{netip.MustParseAddr(peerHost)}, RunDir: runDir, Swanctl: peerConf(outer)})
	if err != nil {
		return err
	}
	s.rawBranch, err = lab.StartBranch(ctx, lab.Config{Name: rawName, Bridge: bridge, Address: onOuter(rawIP),
		LAN: []netip.Addr{netip.MustParseAddr(rawHost)}, RunDir: runDir})
	if err != nil {
		return err
	}
	if s.peerVICI, err = vici.Dial(ctx, filepath.Join(runDir, peerName, "charon.vici")); err != nil {
		return err
	}
	if s.raw, err = vici.Dial(ctx, filepath.Join(runDir, rawName, "charon.vici")); err != nil {
		return err
	}
	return s.raw.Subscribe(ctx, "child-updown")
}

// resources makes what a connection needs, and waits until the router's charon runs. It returns the external network and the
// router's outer address.
func (s *scene) resources(ctx context.Context) (wan, outer string, err error) {
	make := func(collection, key string, o client.Object) (id string) {
		if err == nil {
			id, err = s.create(ctx, collection, key, o)
		}
		return id
	}
	wan = make("networks", "network", client.Object{"name": "wan", "router:external": true})
	make("subnets", "subnet", client.Object{"network_id": wan, "cidr": outerCIDR, "ip_version": 4, "gateway_ip": peerIP,
		"allocation_pools": []client.Object{{"start": "198.51.100.2", "end": "198.51.100.30"}}})
	lan := make("networks", "network", client.Object{"name": "lan"})
	subnet := make("subnets", "subnet", client.Object{"network_id": lan, "cidr": culvertCIDR, "ip_version": 4})
	router := make("routers", "router", client.Object{"external_gateway_info": client.Object{"network_id": wan}})
	if err == nil {
		_, err = s.api.Call(ctx, "PUT", "/v2.0/routers/"+router+"/add_router_interface", client.Object{"subnet_id": subnet})
	}
	service := make("vpn/vpnservices", "vpnservice", client.Object{"router_id": router})
	attributes := client.Object{"vpnservice_id": service, "peer_address": peerIP, "peer_id": peerIP, "psk": psk,
		"ikepolicy_id":      make("vpn/ikepolicies", "ikepolicy", client.Object{}),
		"ipsecpolicy_id":    make("vpn/ipsecpolicies", "ipsecpolicy", client.Object{}),
		"local_ep_group_id": make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "subnet", "endpoints": []string{subnet}}),
		"peer_ep_group_id":  make("vpn/endpoint-groups", "endpoint_group", client.Object{"type": "cidr", "endpoints": []string{peerCIDR}})}
	if err != nil {
		return "", "", err
	}
	if s.connection, err = json.Marshal(client.Object{"ipsec_site_connection": attributes}); err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, tunnelWait)
	defer cancel()
	v, err := s.api.Await(ctx, "/v2.0/vpn/vpnservices/"+service, "vpnservice", 5*time.Millisecond, "ACTIVE")
	outer, _ = v["external_v4_ip"].(string)
	return wan, outer, err
}

func (s *scene) close() error {
	var errs []error
	for _, c := range []*vici.Conn{s.raw, s.peerVICI} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	for _, b := range []*lab.Branch{s.rawBranch, s.peer} {
		if b != nil {
			errs = append(errs, b.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *scene) measure(ctx context.Context) (got, limit []time.Duration, err error) {
	const warmUp = 2
	for range warmUp + tunnelRuns {
		time.Sleep(settle)
		t, err := s.viaVICI(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("tunnel by VICI: %w", err)
		}
		limit = append(limit, t)
		time.Sleep(settle)
		if t, err = s.viaAPI(ctx); err != nil {
			return nil, nil, fmt.Errorf("tunnel by the API: %w", err)
		}
		got = append(got, t)
	}
	return got[warmUp:], limit[warmUp:], nil
}

// viaAPI is one tunnel from the POST until a GET says ACTIVE; then it is deleted.
func (s *scene) viaAPI(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelWait)
	defer cancel()
	url := s.api.URL + "/v2.0/vpn/ipsec-site-connections"
	begun := time.Now()
	if _, err := s.do(ctx, "POST", url, s.connection); err != nil {
		return 0, err
	}
	var made struct {
		Connection struct{ ID string } `json:"ipsec_site_connection"`
	}
	if err := json.Unmarshal(s.body.Bytes(), &made); err != nil {
		return 0, err
	}
	url += "/" + made.Connection.ID
	for {
		if _, err := s.do(ctx, "GET", url, nil); err != nil {
			return 0, err
		}
		if bytes.Contains(s.body.Bytes(), []byte(`"status":"ACTIVE"`)) {
			break
		}
		time.Sleep(pollEvery)
	}
	took := time.Since(begun)
	if _, err := s.do(ctx, "DELETE", url, nil); err != nil {
		return 0, err
	}
	return took, awaitGone(ctx, s.peerVICI, "culvert")
}

func onOuter(ip string) []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(ip), netip.MustParsePrefix(outerCIDR).Bits())}
}
