package sitetest

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/testbox"
)

// Server is a Culvert server with its data folder, over several runs of the program.
type Server struct {
	*Process // the present run
	T        *testing.T
	How      []As
	Data     string
	Address  string
	Args     []string
	API      *client.Client // as admin
}

// NewServer starts a server on an empty folder and logs in with the password that it prints.
func NewServer(t *testing.T, args ...string) *Server {
	t.Helper()
	return NewServerIn(t, filepath.Join(t.TempDir(), "data"), nil, args...)
}

func NewServerIn(t *testing.T, data string, how []As, args ...string) *Server {
	t.Helper()
	s := &Server{T: t, How: how, Data: data, Address: Listen(t), Args: args}
	t.Logf("namespaces of this test have the tag %s", Tag(t))
	t.Cleanup(s.TakeDown)
	s.Start()
	s.API = s.Login(s.Password())
	return s
}

// Start runs the program on the folder and waits until it serves.
func (s *Server) Start() {
	s.T.Helper()
	s.Process = Launch(s.T, s.How, append([]string{"server", "--data", s.Data, "--listen", s.Address, "--log-level", "debug"}, s.Args...)...)
	within := 20 * time.Second
	if testbox.KernelESP() {
		within = time.Minute // a guest has one processor, and reads the program over the host's file system
	}
	s.AwaitOutput("Culvert serves on http://"+s.Address, within)
}

// Restart ends the server by a signal and starts it again.
func (s *Server) Restart(signal syscall.Signal) {
	s.T.Helper()
	s.End(signal)
	s.Start()
}

var passwordLine = regexp.MustCompile(`(?m)^Password of admin, shown this once: (\S+)$`)

// Password is what this run printed.
func (s *Server) Password() string {
	s.T.Helper()
	m := passwordLine.FindAllStringSubmatch(s.Output.String(), -1)
	if len(m) != 1 {
		s.T.Fatalf("the first start prints %d passwords, want 1; it said:\n%s", len(m), Tail(s.Output.String(), 40))
	}
	return m[0][1]
}

func (s *Server) Login(password string) *client.Client {
	s.T.Helper()
	api, err := client.Login(s.T.Context(), "http://"+s.Address, "admin", password, "admin")
	if err != nil {
		s.T.Fatalf("%v; the server said:\n%s", err, Tail(s.Output.String(), 40))
	}
	return api
}

func Glob(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TakeDown ends the server and its gateway; after a failure it first shows what the server knows.
func (s *Server) TakeDown() {
	if s.Process != nil {
		if s.T.Failed() {
			s.Show()
		}
		select {
		case <-s.Ended:
		default:
			if code := s.End(syscall.SIGTERM); code != 0 {
				s.T.Errorf("after SIGTERM the server's exit code is %d, want 0; it said:\n%s", code, Tail(s.Output.String(), 40))
			}
		}
	}
	code, out := Run(s.T, nil, "gateway", "down", "--data", s.Data)
	nothing := code == 1 && strings.Contains(out, "nothing here for --data "+s.Data) // a gateway without a router leaves no folder
	if taken := code == 0 && strings.Contains(out, " taken away"); !taken && !nothing {
		s.T.Errorf("gateway down: exit code %d:\n%s", code, out)
	}
}

// Show logs the server's last words, and the services and connections as it answers them.
func (s *Server) Show() {
	said := slices.Collect(strings.Lines(s.Output.String()))
	said = slices.DeleteFunc(said, func(l string) bool { return strings.Contains(l, " method=GET ") && strings.Contains(l, " status=200 ") }) // polls
	s.T.Logf("the server's last words:\n%s", Tail(strings.Join(said, ""), 40))
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second) // the test's own is over
	defer cancel()
	if s.API != nil {
		for _, path := range []string{"/v2.0/vpn/vpnservices", "/v2.0/vpn/ipsec-site-connections"} {
			if _, body, err := s.API.Do(ctx, "GET", path, nil); err == nil {
				s.T.Logf("GET %s: %s", path, body)
			}
		}
	}
}

// Create creates a resource.
func (s *Server) Create(collection, key string, attributes client.Object) client.Object {
	s.T.Helper()
	o, err := s.API.Create(s.T.Context(), collection, key, attributes)
	if err != nil {
		s.T.Fatal(err)
	}
	return o
}

// Call makes a call that must succeed.
func (s *Server) Call(method, path string, body any) client.Object {
	s.T.Helper()
	o, err := s.API.Call(s.T.Context(), method, path, body)
	if err != nil {
		s.T.Fatal(err)
	}
	return o
}
