package gateway

import (
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pickDataplane settles who does ESP.
func pickDataplane(want string, log *slog.Logger) (string, error) {
	switch want {
	case Userland:
		return Userland, nil
	case Kernel, Auto, "":
	default:
		return "", fmt.Errorf("data plane %q is not one of %s, %s, %s", want, Auto, Kernel, Userland)
	}
	err := kernelESP()
	switch {
	case err == nil:
		log.Info("data plane: kernel, which has ESP")
		return Kernel, nil
	case want == Kernel:
		return "", fmt.Errorf("data plane kernel: this kernel does no ESP (%w): load esp4, esp6 and xfrm_user, or take --dataplane auto or userland", err)
	default:
		log.Info("data plane: userland (kernel-libipsec), since this kernel does no ESP", "why", err)
		return Userland, nil
	}
}

// kernelESP tries in a namespace that ends with its thread whether the kernel takes the two common sorts of ESP SA.
func kernelESP() error {
	return onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		h, err := netlink.NewHandle(unix.NETLINK_XFRM)
		if err != nil {
			return fmt.Errorf("netlink xfrm: %w", err)
		}
		defer h.Close()
		gcm := probeSA(1)
		gcm.Aead = &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 36), ICVLen: 128}
		cbc := probeSA(2)
		cbc.Crypt = &netlink.XfrmStateAlgo{Name: "cbc(aes)", Key: make([]byte, 32)}
		cbc.Auth = &netlink.XfrmStateAlgo{Name: "hmac(sha256)", Key: make([]byte, 32), TruncateLen: 128}
		if err := addSA(h, gcm); err != nil {
			return err
		}
		return addSA(h, cbc)
	})
}

func probeSA(spi int) *netlink.XfrmState {
	return &netlink.XfrmState{
		Src: net.IPv4(127, 0, 0, 1), Dst: net.IPv4(127, 0, 0, 2), Proto: netlink.XFRM_PROTO_ESP,
		Mode: netlink.XFRM_MODE_TUNNEL, Spi: 0x1000 + spi, Reqid: spi,
	}
}

func addSA(h *netlink.Handle, sa *netlink.XfrmState) error {
	if err := h.XfrmStateAdd(sa); err != nil {
		return fmt.Errorf("ESP SA: %w", err)
	}
	return nil
}

// planeOf reads from the strongswan.conf of a running charon which data plane it has.
func planeOf(conf string) string {
	if strings.Contains(conf, "kernel-libipsec") {
		return Userland
	}
	return Kernel
}
