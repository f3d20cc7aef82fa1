package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"culvert/internal/lab"
	"culvert/internal/vici"
)

// viaVICI is one tunnel from load-shared until charon says that the CHILD_SA is up; then it is taken down.
func (s *scene) viaVICI(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, tunnelWait)
	defer cancel()
	const name = "raw"
	begun := time.Now()
	err := s.commands(ctx, []command{
		{"load-shared", vici.NewMessage().Set("id", name).Set("type", "IKE").Set("data", psk).SetList("owners", rawIP, peerIP)},
		{"load-conn", vici.NewMessage().SetSection(name, rawConn(name))},
		{"initiate", vici.NewMessage().Set("ike", name).Set("child", name).Set("timeout", "-1").Set("loglevel", "-1")}})
	if err == nil {
		err = s.awaitUp(ctx)
	}
	if err != nil {
		return 0, err
	}
	took := time.Since(begun)
	err = s.commands(ctx, []command{
		{"unload-conn", vici.NewMessage().Set("name", name)},
		{"terminate", vici.NewMessage().Set("ike", name).Set("force", "yes").Set("timeout", "-1").Set("loglevel", "-1")},
		{"unload-shared", vici.NewMessage().Set("id", name)}})
	if err != nil {
		return 0, err
	}
	return took, errors.Join(awaitGone(ctx, s.raw, name), awaitGone(ctx, s.peerVICI, name))
}

type command struct {
	name string
	in   *vici.Message
}

func (s *scene) commands(ctx context.Context, all []command) error {
	for _, c := range all {
		if _, err := s.raw.Call(ctx, c.name, c.in); err != nil {
			return err
		}
	}
	return nil
}

// rawConn is the connection that Culvert's defaults come to.
func rawConn(child string) *vici.Message {
	side := func(id string) *vici.Message { return vici.NewMessage().Set("auth", "psk").Set("id", id) }
	nets := vici.NewMessage().SetList("local_ts", rawCIDR).SetList("remote_ts", peerCIDR).SetList("esp_proposals", proposal).
		Set("mode", "tunnel").Set("start_action", "none").Set("close_action", "none").Set("dpd_action", "none")
	return vici.NewMessage().Set("version", "2").SetList("local_addrs", rawIP).SetList("remote_addrs", peerIP).
		SetList("proposals", proposal).Set("unique", "no").Set("keyingtries", "1").Set("mobike", "no").Set("dpd_delay", "30s").
		SetSection("local", side(rawIP)).SetSection("remote", side(peerIP)).
		SetSection("children", vici.NewMessage().SetSection(child, nets))
}

// awaitUp skips what is said of earlier tunnels' ends.
func (s *scene) awaitUp(ctx context.Context) error {
	for {
		select {
		case e, ok := <-s.raw.Events():
			if !ok {
				return s.raw.Err()
			}
			if e.Message.Get("up") == "yes" {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitGone waits until a charon has no IKE_SA of this name.
func awaitGone(ctx context.Context, c *vici.Conn, name string) error {
	for {
		there := false
		err := c.Stream(ctx, "list-sas", "list-sa", vici.NewMessage().Set("ike", name), func(*vici.Message) error {
			there = true
			return nil
		})
		if err != nil || !there {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s stays: %w", name, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// peerConf is the peer's hand-written swanctl.conf: one connection with Culvert's router, one with the raw charon.
func peerConf(culvertIP string) string {
	conn := func(name, remote, remoteCIDR string) lab.Peer {
		return lab.Peer{Name: name, Local: peerIP, Remote: remote, PSK: psk, IKE: proposal, ESP: proposal, Networks: peerCIDR, Peers: remoteCIDR}
	}
	return lab.Conf(conn("culvert", culvertIP, culvertCIDR), conn("raw", rawIP, rawCIDR))
}
