package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"culvert/internal/udpbuf"
)

// Config of a branch office: a router with strongSwan on the bridge of the outer network, and networks behind it.
type Config struct {
	Name    string         // namespace and, below RunDir, folder; at most 11 bytes
	Bridge  string         // host bridge of the outer network; made when it is missing
	MTU     int            // of the outer link; 0: 1500
	Address []netip.Prefix // on the outer network
	Gateway []netip.Addr   // next hops of its default routes; may be empty
	LAN     []netip.Addr   // its own addresses inside the networks behind it, which answer pings
	RunDir  string         // short absolute path: a unix socket lies in it
	Swanctl string         // text of swanctl.conf: connections and secrets
	Kernel  bool           // the kernel does ESP, not strongSwan in userland, which runs on any kernel
	Crowd   bool           // it stands for many peers: any number of IKE_SAs may be half-open from one address
}

// Branch is a running one. Close it.
type Branch struct {
	*Host
	cfg    Config
	charon *exec.Cmd
	ended  chan struct{} // of charon
}

const (
	startTimeout = 10 * time.Second
	stopTimeout  = 10 * time.Second
)

// StartBranch makes the namespace, starts charon and loads the swanctl.conf.
func StartBranch(ctx context.Context, cfg Config) (*Branch, error) {
	b := &Branch{cfg: cfg}
	if err := b.endLeftover(); err != nil {
		return nil, fmt.Errorf("branch %s: %w", cfg.Name, err)
	}
	host, err := StartHost(ctx, HostConfig{Name: cfg.Name, Bridge: cfg.Bridge, MTU: cfg.MTU, Address: cfg.Address, Gateway: cfg.Gateway})
	if err != nil {
		return nil, err
	}
	b.Host = host
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("branch %s: %w", cfg.Name, err), b.Close())
	}
	return b, nil
}

func (b *Branch) start(ctx context.Context) error {
	if err := os.MkdirAll(b.dir(), 0o700); err != nil {
		return err
	}
	var commands []string
	for _, a := range b.cfg.LAN {
		commands = append(commands, fmt.Sprintf("addr add %s/%d dev lo%s", a, a.BitLen(), nodad(a)))
	}
	if len(commands) > 0 {
		if err := ip(ctx, b.Namespace(), commands...); err != nil {
			return err
		}
	}
	plugins := "kernel-libipsec kernel-netlink"
	if b.cfg.Kernel {
		plugins = "kernel-netlink"
	}
	limits := ""
	if b.cfg.Crowd {
		limits = "block_threshold = 10000\n  cookie_threshold = 9999\n  cookie_threshold_ip = 9999"
	}
	conf := fmt.Sprintf(branchConf, plugins, limits, filepath.Join(b.dir(), "charon.log"), b.socket())
	if err := os.WriteFile(b.conf(), []byte(conf), 0o600); err != nil {
		return err
	}
	return b.StartCharon(ctx)
}

func (b *Branch) dir() string     { return filepath.Join(b.cfg.RunDir, b.cfg.Name) }
func (b *Branch) conf() string    { return filepath.Join(b.dir(), "strongswan.conf") }
func (b *Branch) pidFile() string { return filepath.Join(b.dir(), "pid") }
func (b *Branch) socket() string  { return filepath.Join(b.dir(), "charon.vici") }

// branchConf is strongswan.conf. Its timings are short: it gives up on a
// silent peer within 8 s.
const branchConf = `charon-systemd {
  load = random nonce aesni openssl ccm ctr cmac xcbc gmp curve25519 kdf socket-default %s vici updown
  threads = 16
  i_dont_care_about_security_and_use_aggressive_mode_psk = yes
  retransmit_timeout = 1.0
  retransmit_base = 1.5
  retransmit_tries = 3
  %s
  journal {
    default = -1
  }
  filelog {
    log {
      path = %s
      flush_line = yes
      ike_name = yes
      time_format = %%Y-%%m-%%dT%%H:%%M:%%S
      time_add_ms = yes
      default = 1
    }
  }
  plugins {
    vici {
      socket = unix://%s
    }
  }
}
swanctl {
  load = random openssl
}
`

// StartCharon starts charon and loads the swanctl.conf, as after StopCharon or KillCharon.
func (b *Branch) StartCharon(ctx context.Context) error {
	if err := os.Remove(b.socket()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	// ip becomes the program it starts, so the process id is charon's.
	cmd := exec.Command("ip", "netns", "exec", b.Namespace(), "charon-systemd")
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+b.conf())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the program that drives the branch
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start charon: %w", err)
	}
	if err := os.WriteFile(b.pidFile(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	b.charon, b.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		defer close(ended)
		_ = cmd.Wait() // it ends by a signal of ours
	}(b.ended)
	deadline := time.Now().Add(startTimeout)
	for {
		if _, err := os.Stat(b.socket()); err == nil {
			if err = b.Load(ctx, b.cfg.Swanctl); err == nil {
				return b.giveRoom(ctx)
			}
			if !strings.Contains(err.Error(), "connecting to") {
				return err
			}
		}
		select {
		case <-b.ended:
			return fmt.Errorf("charon of branch %s ended at once; see %s/charon.log", b.cfg.Name, b.dir())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(3 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("charon of branch %s does not answer", b.cfg.Name)
		}
	}
}

// giveRoom lets packets wait while charon gets no CPU time, so that what tests count as lost was lost by the other side.
func (b *Branch) giveRoom(ctx context.Context) error {
	err := ip(ctx, b.Namespace(), "link set ipsec0 txqueuelen 10000")
	if err != nil && !strings.Contains(err.Error(), "Cannot find device") { // of a charon that has the kernel's ESP, by choice or for want of /dev/net/tun
		return err
	}
	_, err = udpbuf.Enlarge(b.charon.Process.Pid)
	return err
}

// endLeftover kills the charon of an earlier run that was itself killed. Process ids come back in use, so it must have
// been started with our configuration.
func (b *Branch) endLeftover() error {
	text, err := os.ReadFile(b.pidFile())
	if err != nil {
		return nil // there was none
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		return nil
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !strings.Contains(string(environ), "STRONGSWAN_CONF="+b.conf()+"\x00") {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end the charon of an earlier run: %w", err)
	}
	return nil
}

// Load replaces the swanctl.conf and makes charon read it. Running SAs stay.
func (b *Branch) Load(ctx context.Context, swanctl string) error {
	b.cfg.Swanctl = swanctl
	file := filepath.Join(b.dir(), "swanctl.conf")
	if err := os.WriteFile(file, []byte(swanctl), 0o600); err != nil {
		return err
	}
	_, err := b.swanctl(ctx, "--load-all", "--noprompt", "--file", file)
	return err
}

// Initiate starts a CHILD_SA of the swanctl.conf by name and waits until it stands or fails (at most 10 s).
func (b *Branch) Initiate(ctx context.Context, child string) error {
	_, err := b.swanctl(ctx, "--initiate", "--child", child, "--timeout", "10")
	return err
}

// Terminate ends the IKE_SAs of a connection with a DELETE to the peer.
func (b *Branch) Terminate(ctx context.Context, connection string) error {
	_, err := b.swanctl(ctx, "--terminate", "--ike", connection, "--timeout", "5")
	return err
}

// Rekey replaces an SA by a new one: of the CHILD_SA with this name, or with "" the connection's IKE_SA.
func (b *Branch) Rekey(ctx context.Context, connection, child string) error {
	what := []string{"--rekey", "--ike", connection}
	if child != "" {
		what = []string{"--rekey", "--child", child}
	}
	_, err := b.swanctl(ctx, what...)
	return err
}

// ListSAs answers `swanctl --list-sas`, for people.
func (b *Branch) ListSAs(ctx context.Context) (string, error) { return b.swanctl(ctx, "--list-sas") }

func (b *Branch) swanctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "swanctl", append(args, "--uri", "unix://"+b.socket())...)
	cmd.Env = append(os.Environ(), "STRONGSWAN_CONF="+b.conf(), "SWANCTL_DIR="+b.dir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("branch %s: swanctl %s: %w: %s", b.cfg.Name, args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// StopCharon ends charon in order: it says DELETE to its peers.
func (b *Branch) StopCharon() error { return b.end(syscall.SIGTERM) }

// KillCharon ends charon without a word, as a power cut does.
func (b *Branch) KillCharon() error { return b.end(syscall.SIGKILL) }

// Freeze lets charon answer nothing until thaw is called, as a machine without CPU time.
func (b *Branch) Freeze() (thaw func() error, err error) {
	p := b.charon.Process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("freeze charon of branch %s: %w", b.cfg.Name, err)
	}
	return func() error { return p.Signal(syscall.SIGCONT) }, nil
}

func (b *Branch) end(signal syscall.Signal) error {
	if b.charon == nil {
		return nil
	}
	if err := b.charon.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end charon of branch %s: %w", b.cfg.Name, err)
	}
	select {
	case <-b.ended:
	case <-time.After(stopTimeout):
		if err := b.charon.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("kill charon of branch %s: %w", b.cfg.Name, err)
		}
		<-b.ended
	}
	b.charon = nil
	return nil
}

// Log answers charon's log file.
func (b *Branch) Log() (string, error) {
	text, err := os.ReadFile(filepath.Join(b.dir(), "charon.log"))
	return string(text), err
}

// Close ends charon and removes namespace, link and folder. Closing twice is no error.
func (b *Branch) Close() error {
	return errors.Join(b.end(syscall.SIGTERM), b.Host.Close(), os.RemoveAll(b.dir()))
}
