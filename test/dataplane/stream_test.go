package dataplane

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// streams is TCP between two hosts, for ever: it connects, writes for a while, and begins again, so that at any time there
// are segments of connections that stand and SYNs of new ones.
type streams struct{ received atomic.Int64 }

// inNamespace runs f on a thread of its own inside a network namespace; sockets that it makes stay there.
func inNamespace(namespace string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.GetFromName(namespace)
		if err == nil {
			err = netns.Set(ns)
			_ = ns.Close()
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

const streamPort = 7007

// stream runs TCP from one host to another until the test ends.
func stream(t *testing.T, from, to string, address netip.Addr) *streams {
	t.Helper()
	s := &streams{}
	var listener net.Listener
	err := inNamespace(to, func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(address, streamPort).String())
		return err
	})
	if err != nil {
		t.Fatalf("listen in %s: %v", to, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.accept(ctx, listener) })
	running.Go(func() { s.write(ctx, from, address) })
	t.Cleanup(func() {
		cancel()
		_ = listener.Close()
		running.Wait()
	})
	return s
}

func (s *streams) accept(ctx context.Context, l net.Listener) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer c.Close()
			buffer := make([]byte, 4096)
			for ctx.Err() == nil {
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				n, err := c.Read(buffer)
				s.received.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
	}
}

// write keeps a connection for 300 ms at most, so that a lost segment does not silence it.
func (s *streams) write(ctx context.Context, from string, to netip.Addr) {
	line := []byte(fmt.Sprintf("%-400s", "between the selectors"))
	for ctx.Err() == nil {
		_ = inNamespace(from, func() error { // what fails here is what the test is about: a tunnel that is down
			c, err := (&net.Dialer{Timeout: 50 * time.Millisecond}).DialContext(ctx, "tcp", netip.AddrPortFrom(to, streamPort).String())
			if err != nil {
				return err
			}
			defer c.Close()
			end := time.Now().Add(300 * time.Millisecond)
			_ = c.SetWriteDeadline(end)
			for tick := time.NewTicker(3 * time.Millisecond); err == nil && time.Now().Before(end) && ctx.Err() == nil; <-tick.C {
				_, err = c.Write(line)
			}
			return err
		})
	}
}
