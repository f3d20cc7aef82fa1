package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server beside an OpenStack is told at once what its flags lack, and the password is in no message.
func TestCloudFlags(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("swordfish-9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keystone := []string{"--identity=keystone", "--keystone-url=http://127.0.0.1:1", "--service-password-file=" + password}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--topology=neutron", "--neutron-url=http://127.0.0.1:1"}, "--topology=neutron needs --identity=keystone"},
		{append([]string{"--topology=neutron"}, keystone...), "--topology=neutron needs --neutron-url"},
		{[]string{"--identity=keystone", "--keystone-url=http://127.0.0.1:1"}, "--identity=keystone needs"},
		{[]string{"--identity=keystone", "--service-password-file=" + password}, "--identity=keystone needs"},
		{[]string{"--keystone-url=http://127.0.0.1:1", "--service-password-file=" + password}, "are for --identity=keystone"},
		{[]string{"--service-password-file=" + password}, "are for --identity=keystone"},
		{append([]string{"--neutron-url=http://127.0.0.1:1"}, keystone...), "--neutron-url is for --topology=neutron"},
		{append([]string{"--topology=neutron", "--neutron-url=http://user:swordfish-9@127.0.0.1"}, keystone...), "must be like https://"},
		{[]string{"--identity=keystone", "--keystone-url=http://user:swordfish-9@127.0.0.1:1/v3", "--service-password-file=" + password}, "must be like https://"},
		{append([]string{"--topology=neutron", "--neutron-url=127.0.0.1:9696"}, keystone...), "must be like https://"},
	} {
		var out, said bytes.Buffer
		called, data := 2, filepath.Join(password, "data") // wrongly: the flags against each other; no server could start there
		if strings.Contains(c.want, "must be like") {      // what a URL may be is known where it is used
			called, data = 1, filepath.Join(dir, "data")
		}
		args := append([]string{"server", "--gateway=none", "--listen=127.0.0.1:0", "--data=" + data}, c.args...)
		code := Main(args, "test", &out, &said)
		if code != called || !strings.Contains(said.String(), c.want) || strings.Contains(said.String(), "swordfish") {
			t.Errorf("%q: exit %d, %s", c.args, code, said.String())
		}
	}
}
