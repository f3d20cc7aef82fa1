package sitetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"culvert/internal/testbox"
)

// CharonLog is the log of the router's charon.
func (s *Site) CharonLog() string {
	s.T.Helper()
	text, err := os.ReadFile(s.RouterFile("charon.log"))
	if err != nil {
		s.T.Fatal(err)
	}
	return string(text)
}

// RouterFile is a file of the router's below the run folder.
func (s *Site) RouterFile(name string) string {
	s.T.Helper()
	dirs := Glob(s.T, "/run/culvert/*/"+s.Router)
	if len(dirs) != 1 {
		s.T.Fatalf("router %s has the folders %v, want one", s.Router, dirs)
	}
	return filepath.Join(dirs[0], name)
}

// Remove deletes a resource, which is gone at once.
func (s *Site) Remove(path string) {
	s.T.Helper()
	status, body, err := s.API.Do(s.T.Context(), "DELETE", path, nil)
	if err != nil || status != 204 || len(body) > 0 {
		s.T.Fatalf("DELETE %s: %d %s, %v; want 204", path, status, body, err)
	}
	if status, body, err = s.API.Do(s.T.Context(), "GET", path, nil); err != nil || status != 404 {
		s.T.Errorf("GET of the deleted %s: %d %s, %v; want 404", path, status, body, err)
	}
}

// Ruleset is what nft has in the router's namespace, and where the kernel does ESP its policies and SAs.
func (s *Site) Ruleset() string {
	s.T.Helper()
	text := s.Output1("ip", "netns", "exec", s.Namespace(), "nft", "list", "ruleset")
	if testbox.KernelESP() {
		text += s.Output1("ip", "-n", s.Namespace(), "xfrm", "policy") + s.Output1("ip", "-n", s.Namespace(), "xfrm", "state")
	}
	return text
}

// CharonConns are the connections that the router's charon has.
func (s *Site) CharonConns() string {
	s.T.Helper()
	return s.Output1("swanctl", "--list-conns", "--uri", "unix://"+s.RouterFile("charon.vici"))
}

// CharonPID is the process id of the router's charon.
func (s *Site) CharonPID() string {
	s.T.Helper()
	text, err := os.ReadFile(s.RouterFile("pid"))
	if err != nil {
		s.T.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Output1 is what a program that must succeed says.
func (s *Site) Output1(args ...string) string {
	s.T.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		s.T.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// AwaitCharonSAs waits until the router's charon, which may be about to start, has a CHILD_SA: until its gateway's first
// report the server answers the status from before.
func (s *Site) AwaitCharonSAs() {
	s.T.Helper()
	Poll(s.T, 15*time.Second, "the router's charon has a CHILD_SA", func() bool {
		for _, socket := range Glob(s.T, "/run/culvert/*/"+s.Router+"/charon.vici") {
			out, err := exec.Command("swanctl", "--list-sas", "--uri", "unix://"+socket).CombinedOutput()
			return err == nil && strings.Contains(string(out), "INSTALLED")
		}
		return false
	})
}

// KillCharon ends the router's charon as a crash does.
func (s *Site) KillCharon() {
	s.T.Helper()
	pid, err := strconv.Atoi(s.CharonPID())
	if err != nil {
		s.T.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		s.T.Fatalf("kill charon: %v", err)
	}
}
