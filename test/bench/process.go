package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"culvert/internal/client"
)

// process is a child that ends before this program does, however this program ends.
type process struct {
	cmd   *exec.Cmd
	out   *bufio.Scanner // its standard output
	ended chan struct{}
}

// start runs a program of a group of its own: Ctrl-C is for us, who end our children in order.
func start(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	pr, pw := io.Pipe()
	cmd.Stdout = pw
	p := &process{cmd: cmd, out: bufio.NewScanner(pr), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the kernel sends Pdeathsig when the thread ends that started the child
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it ends by a signal of ours
		}
		pw.Close()
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// find reads the output up to a line with this text, and returns what follows the text there. what the program prints
// afterwards is thrown away once last is true.
func (p *process) find(text string, last bool) (string, error) {
	for p.out.Scan() {
		if _, rest, ok := strings.Cut(p.out.Text(), text); ok {
			if last {
				go func() {
					for p.out.Scan() {
					}
				}()
			}
			return rest, nil
		}
	}
	return "", fmt.Errorf("%s ended without saying %q", filepath.Base(p.cmd.Path), text)
}

// stop ends the child: SIGTERM, and SIGKILL after 20 s.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	return errors.Join(fmt.Errorf("%s did not end in 20 s", p.cmd.Path), err)
}

// culvert is a running server, and its first admin's view of it.
type culvert struct {
	*process
	api  *client.Client
	data string
}

// startCulvert starts a server with a new data folder below b.dir.
func (b *bench) startCulvert(ctx context.Context, name string, args ...string) (*culvert, error) {
	data := filepath.Join(b.dir, name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(data, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(b.binary, append([]string{"server", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = log
	p, err := start(cmd)
	if err != nil {
		return nil, err
	}
	c := &culvert{process: p, data: data}
	if err := c.login(ctx); err != nil {
		err = errors.Join(err, c.stop())
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, said)
	}
	return c, nil
}

func (c *culvert) login(ctx context.Context) error {
	password, err := c.find("Password of admin, shown this once: ", false)
	if err != nil {
		return err
	}
	rest, err := c.find("Culvert serves on ", true)
	if err != nil {
		return err
	}
	url, _, _ := strings.Cut(rest, " ")
	c.api, err = client.Login(ctx, url, "admin", password, "admin")
	return err
}

// create posts one resource and returns its id.
func (c *culvert) create(ctx context.Context, collection, key string, attributes client.Object) (string, error) {
	o, err := c.api.Create(ctx, collection, key, attributes)
	id, _ := o["id"].(string)
	return id, err
}
