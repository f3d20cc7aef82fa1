package vicitest

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// NewNamespace makes a named network namespace with lo up, removed after the test, and returns its name (at most 15 bytes).
func NewNamespace(t testing.TB) string {
	t.Helper()
	name := "vt" + rand.Text()[:12]
	if err := apart(func() error { return makeNamespace(name) }); err != nil {
		t.Fatalf("vicitest: namespace %s: %v", name, err)
	}
	t.Cleanup(func() {
		if err := netns.DeleteNamed(name); err != nil {
			t.Errorf("vicitest: remove namespace %s: %v", name, err)
		}
	})
	return name
}

func makeNamespace(name string) error {
	ns, err := netns.NewNamed(name)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := loopbackUp(); err != nil {
		netns.DeleteNamed(name)
		return err
	}
	return nil
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// within runs f on a thread inside the named namespace.
func within(name string, f func() error) error {
	return apart(func() error {
		ns, err := netns.GetFromName(name)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter namespace %s: %w", name, err)
		}
		return f()
	})
}

// apart runs f, which may change the namespace of its thread, and brings the thread back. A thread that cannot go back
// stays locked, so that nothing else ever runs on it.
func apart(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	err = f()
	if back := netns.Set(home); back != nil {
		return fmt.Errorf("leave namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}
