package vicitest_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"culvert/internal/vici"
	"culvert/internal/vici/vicitest"
)

func plugins(t *testing.T, c *vicitest.Charon) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := vici.Dial(ctx, c.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stats, err := conn.Call(ctx, "stats", nil)
	if err != nil {
		t.Fatal(err)
	}
	return stats.List("plugins")
}

func hasLink(t *testing.T, namespace, link string) bool {
	t.Helper()
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	_, err = h.LinkByName(link)
	return err == nil
}

func TestDataPaths(t *testing.T) {
	for name, c := range map[string]struct {
		opts          vicitest.Options
		updown, libip bool
	}{
		"none":     {vicitest.Options{}, false, false},
		"kernel":   {vicitest.Options{KernelESP: true}, true, false},
		"userland": {vicitest.Options{UserlandESP: true}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			charon := vicitest.Start(t, c.opts)
			loaded := plugins(t, charon)
			if slices.Contains(loaded, "updown") != c.updown || slices.Contains(loaded, "kernel-libipsec") != c.libip {
				t.Errorf("plugins %v", loaded)
			}
			if hasLink(t, charon.Namespace, "ipsec0") != c.libip {
				t.Errorf("ipsec0 there: %v", !c.libip)
			}
			if _, err := os.Stat(charon.ErrorNotify); (err == nil) != c.updown {
				t.Errorf("error-notify socket: %v", err)
			}
		})
	}
}

// A namespace given by the test outlives its charons; everything else goes.
func TestNothingIsLeft(t *testing.T) {
	var left []*vicitest.Charon
	own := vicitest.NewNamespace(t)
	t.Run("use", func(t *testing.T) {
		first := vicitest.Start(t, vicitest.Options{Namespace: own, UserlandESP: true})
		first.Kill()
		if hasLink(t, own, "ipsec0") {
			t.Error("ipsec0 outlives a killed charon")
		}
		second := vicitest.Start(t, vicitest.Options{Namespace: own, UserlandESP: true})
		if !hasLink(t, own, "ipsec0") {
			t.Error("the second charon of the namespace has no ipsec0")
		}
		left = append(left, first, second, vicitest.Start(t, vicitest.Options{}))
	})
	for _, c := range left {
		if err := syscall.Kill(c.PID, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d: %v", c.PID, err)
		}
		if _, err := os.Stat(c.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("folder %s: %v", c.Dir, err)
		}
		ns, err := netns.GetFromName(c.Namespace)
		if (err == nil) != (c.Namespace == own) {
			t.Errorf("namespace %s: %v", c.Namespace, err)
		}
		if err == nil {
			ns.Close()
		}
	}
}
