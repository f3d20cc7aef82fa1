package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	program     = "charon-systemd"
	programHint = "apt-get install charon-systemd strongswan-swanctl libstrongswan-standard-plugins libcharon-extra-plugins libstrongswan-extra-plugins"
)

// findCharon answers the path of charon-systemd.
func findCharon() (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	if path := "/usr/sbin/" + program; isFile(path) {
		return path, nil
	}
	return "", fmt.Errorf("%s is not installed: %s", program, programHint)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// folder is the state of one router below RunDir.
type folder string

func (f folder) file(name string) string { return filepath.Join(string(f), name) }
func (f folder) conf() string            { return f.file("strongswan.conf") }
func (f folder) socket() string          { return f.file("charon.vici") }
func (f folder) pidFile() string         { return f.file("pid") }
func (f folder) log() string             { return f.file("charon.log") }

// charonConf is strongswan.conf of one router. Plugins are few on purpose: 1.4 MB instead of 3.3 MB a router.
//
// The retransmit timings are pace (see repeats): charon never gives a peer up, the session does. threads=16: charon takes
// 4 to 9 workers for ever, and below that VICI never answers. The error-notify plugin is left out: its records name neither
// proposals nor networks nor, before charon has chosen a connection, identities; the log has all of them.
//
// i_dont_care…: without it charon answers no aggressive mode, also for a connection whose IKE policy asks for it. Others it
// refuses all the same.
func charonConf(f folder, dataplane string) string {
	kernel := "kernel-netlink"
	if dataplane == Userland {
		kernel = "kernel-libipsec kernel-netlink"
	}
	return fmt.Sprintf(`charon-systemd {
  load = random nonce aesni openssl ccm ctr cmac xcbc gmp curve25519 kdf socket-default %s vici updown
  threads = 16
  i_dont_care_about_security_and_use_aggressive_mode_psk = yes
  retransmit_timeout = %s
  retransmit_base = %s
  retransmit_limit = %s
  retransmit_tries = %d
  journal {
    default = -1
  }
  filelog {
    log {
      path = %s
      append = yes
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
`, kernel, decimal(repeatFirst.Seconds()), decimal(repeatBase), decimal(repeatLimit.Seconds()), repeatTries, f.log(), f.socket())
}

// charon is a running daemon, ours or one that an earlier process of ours started.
type charon struct {
	pid  int
	how  string        // it ended; may be read once gone is closed
	gone chan struct{} // closed when our child has been reaped; nil for an adopted one
}

// adoptCharon finds the router's running charon, nil if there is none.
func adoptCharon(f folder) *charon {
	text, err := os.ReadFile(f.pidFile())
	if err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && isCharonOf(pid, f) {
			return &charon{pid: pid}
		}
	}
	return findCharonOf(f)
}

// findCharonOf looks for one that a killed process of ours had started and not yet noted.
func findCharonOf(f folder) *charon {
	if _, err := os.Stat(f.conf()); err != nil { // it is written before
		return nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isCharonOf(pid, f) {
			return &charon{pid: pid}
		}
	}
	return nil
}

// isCharonOf tells whether the process is charon with this router's configuration: process ids come back in use.
func isCharonOf(pid int, f folder) bool {
	proc := "/proc/" + strconv.Itoa(pid)
	environ, err := os.ReadFile(proc + "/environ")
	if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00STRONGSWAN_CONF="+f.conf()+"\x00")) {
		return false
	}
	cmdline, err := os.ReadFile(proc + "/cmdline")
	name, _, _ := bytes.Cut(cmdline, []byte{0})
	return err == nil && filepath.Base(string(name)) == program
}

// startCharon starts the daemon in the namespace. It is a session of its own and lives on when this process ends.
func startCharon(path string, f folder, ns *namespace, dataplane string, outer []netip.Addr, log *slog.Logger) (*charon, error) {
	for _, stale := range []string{f.socket(), f.file("loaded.json")} {
		if err := os.Remove(stale); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("start charon: %w", err)
		}
	}
	if err := writeFile(f.conf(), []byte(charonConf(f, dataplane))); err != nil {
		return nil, fmt.Errorf("start charon: %w", err)
	}
	if err := (spd{ns}).flush(dataplane, outer); err != nil {
		return nil, fmt.Errorf("start charon: %w", err)
	}
	out, err := os.OpenFile(f.file("charon.out"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start charon: %w", err)
	}
	defer out.Close()
	cmd := exec.Command(path)
	cmd.Env = []string{"STRONGSWAN_CONF=" + f.conf(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := ns.do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start charon: %w", err)
	}
	c := &charon{pid: cmd.Process.Pid, gone: make(chan struct{})}
	go func() {
		defer close(c.gone)
		c.how = "exit status 0"
		if err := cmd.Wait(); err != nil {
			c.how = err.Error()
		}
		log.Debug("charon ended", "pid", c.pid, "state", c.how)
	}()
	if err := writeFile(f.pidFile(), []byte(strconv.Itoa(c.pid)+"\n")); err != nil {
		return nil, errors.Join(fmt.Errorf("start charon: %w", err), c.kill(f))
	}
	return c, nil
}

// alive tells whether the daemon runs.
func (c *charon) alive(f folder) bool {
	select {
	case <-c.gone:
		return false
	default:
		return isCharonOf(c.pid, f)
	}
}

// errCharonEnded says that a charon did not live long enough to be told anything.
var errCharonEnded = errors.New("the IKE daemon ended as soon as it was started")

// whileAlive is a context that ends with the daemon, if that is a child of ours.
func (c *charon) whileAlive(ctx context.Context) (context.Context, context.CancelFunc) {
	alive, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-c.gone: // never, of an adopted one
			cancel(errCharonEnded)
		case <-alive.Done():
		}
	}()
	return alive, func() { cancel(nil) }
}

// stop ends the daemon: it says DELETE to every peer and goes; after grace it is killed.
func (c *charon) stop(ctx context.Context, f folder, grace time.Duration) error {
	if !c.alive(f) {
		return nil
	}
	if err := unix.Kill(c.pid, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end charon %d: %w", c.pid, err)
	}
	deadline := time.Now().Add(grace)
	for c.alive(f) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return c.kill(f)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

func (c *charon) kill(f folder) error {
	if err := unix.Kill(c.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill charon %d: %w", c.pid, err)
	}
	for deadline := time.Now().Add(5 * time.Second); c.alive(f); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("charon %d does not end", c.pid)
		}
	}
	return nil
}

// writeFile replaces a file as a whole, readable by root only.
func writeFile(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
