//go:build openstack

package openstack

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"culvert/internal/client"
	"culvert/internal/testbox"
)

type object = map[string]any

// want makes a call that must have this status, and decodes its answer.
func want(t *testing.T, c *client.Client, method, path string, body any, status int) object {
	t.Helper()
	code, out, err := c.Do(t.Context(), method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if code != status {
		t.Fatalf("%s %s: HTTP %d, want %d: %s", method, path, code, status, out)
	}
	var o object
	if len(out) > 0 {
		if err := json.Unmarshal(out, &o); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, out)
		}
	}
	return o
}

// refused is want for an error of Neutron's envelope, by its type.
func refused(t *testing.T, c *client.Client, method, path string, body any, status int, typ string) {
	t.Helper()
	o := want(t, c, method, path, body, status)
	e, _ := o["NeutronError"].(object)
	if e["type"] != typ {
		t.Fatalf("%s %s: %v, want %s", method, path, o, typ)
	}
}

// made creates a resource and answers its id.
func made(t *testing.T, c *client.Client, path, key string, attributes object) string {
	t.Helper()
	return want(t, c, "POST", path, object{key: attributes}, 201)[key].(object)["id"].(string)
}

func list(t *testing.T, c *client.Client, path, key string) (out []object) {
	t.Helper()
	for _, one := range want(t, c, "GET", path, nil, 200)[key].([]any) {
		out = append(out, one.(object))
	}
	return out
}

// eventually calls until it is true.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, within)
		}
	}
}

// culvert starts the program beside the cloud and answers its URL. gateway is local or none.
func (c *cloud) culvert(t *testing.T, gateway string, more ...string) (url string, log *testbox.Transcript) {
	t.Helper()
	dir, err := os.MkdirTemp("", "cos") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(c.servicePassword+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log = &testbox.Transcript{}
	args := append([]string{"server", "--data", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"), "--listen", "127.0.0.1:0", "--gateway", gateway,
		"--identity", "keystone", "--keystone-url", c.keystone, "--service-password-file", password}, more...)
	cmd := exec.Command(c.program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() { c.endCulvert(t, cmd, ended, dir, gateway, log) })
	eventually(t, "culvert serves", 20*time.Second, func() bool {
		_, rest, found := strings.Cut(log.String(), "serves on ")
		if url, _, _ = strings.Cut(rest, " "); !found {
			return false
		}
		r, err := http.Get(url + "/healthz")
		if err == nil {
			r.Body.Close()
		}
		return err == nil && r.StatusCode == 200
	})
	return url, log
}

// beside is a culvert in front of the cloud's Neutron.
func (c *cloud) beside(t *testing.T, gateway string, more ...string) (url string, log *testbox.Transcript) {
	t.Helper()
	return c.culvert(t, gateway, append(more, "--topology", "neutron", "--neutron-url", c.neutron)...)
}

// endCulvert ends the program, takes away what its gateway left, and looks through its log.
func (c *cloud) endCulvert(t *testing.T, cmd *exec.Cmd, ended chan struct{}, dir, gateway string, log *testbox.Transcript) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "run", "*", "charon.log"))
	for _, name := range logs {
		if text, err := os.ReadFile(name); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, text)
		}
	}
	if gateway == "local" {
		out, err := exec.Command(c.program, "gateway", "down", "--run-dir", filepath.Join(dir, "run")).CombinedOutput()
		if err != nil {
			t.Errorf("gateway down: %v\n%s", err, out)
		}
	}
	if t.Failed() {
		t.Logf("culvert said:\n%s", log)
	}
	if strings.Contains(log.String(), c.servicePassword) {
		t.Error("the service user's password is in the log")
	}
}
