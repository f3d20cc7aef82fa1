package udpbuf

import (
	"net"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnlarge(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	before := receiveBuffer(t, stream.(*net.TCPListener))
	if n, err := Enlarge(os.Getpid()); err != nil || n < 1 {
		t.Fatalf("%d sockets, %v", n, err)
	}
	if got := receiveBuffer(t, conn); got != 2*room { // socket(7): the kernel doubles it, for its bookkeeping
		t.Errorf("the buffer holds %d bytes, want %d", got, 2*room)
	}
	if got := receiveBuffer(t, stream.(*net.TCPListener)); got != before {
		t.Errorf("a TCP socket's buffer went from %d to %d", before, got)
	}
}

func TestNoProcess(t *testing.T) {
	if n, err := Enlarge(1 << 30); err == nil || n != 0 { // beyond the kernel's largest
		t.Errorf("%d sockets of a process that does not exist, %v", n, err)
	}
}

func receiveBuffer(t *testing.T, c syscall.Conn) (size int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return size
}
