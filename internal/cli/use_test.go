package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"culvert/internal/server"
)

// What is called wrongly ends with 2, names the flag in one line and says where help is, before anything is made.
func TestWrongFlags(t *testing.T) {
	o := &office{TB: t, cfg: server.Config{Data: filepath.Join(t.TempDir(), "data")}}
	agent := "agent --token-file use_test.go --server "
	for args, said := range map[string]string{
		"server --public-url vpn.example.net":                                           `--public-url "vpn.example.net": it must be http:// or https://`,
		"server --public-url ftp://vpn.example.net":                                     `--public-url "ftp://vpn.example.net": it must be`,
		"server --public-url https://":                                                  `--public-url "https://": it must be`,
		"server --public-url https://me:swordfish@vpn.example.net":                      "--public-url (not shown: it names a user): it must be",
		"server --listen banana":                                                        `--listen "banana": it must be ADDRESS:PORT`,
		"server --listen :99999":                                                        `--listen ":99999": it must be ADDRESS:PORT`,
		"server --metrics-listen 9697":                                                  `--metrics-listen "9697": it must be ADDRESS:PORT`,
		"demo --listen banana":                                                          `--listen "banana": it must be ADDRESS:PORT`,
		"server --database mysql://me:swordfish@127.0.0.1/x":                            "--database: want postgres://…",
		"server --database postgres://me:swordfish@127.0.0.1:port/x":                    "--database: ",
		"server --max-pairs 0":                                                          "--max-pairs 0: it must be at least 1",
		"server --page-limit=-1":                                                        "--page-limit -1: it must be at least 1",
		"server --token-lifetime 0":                                                     "--token-lifetime 0s: it must be more than 0",
		"server --token-lifetime=-1h":                                                   "--token-lifetime -1h0m0s",
		"server --quota tunnels=1":                                                      `--quota: quota "tunnels": allowed are`,
		"server --quota ikepolicy=NaN":                                                  "--quota: ",
		"server --quota ikepolicy=-2":                                                   "--quota: quota ikepolicy=-2",
		"server --cors-origin https://ui.example.net/":                                  "--cors-origin: ",
		"server --gateway=none --physical-network wan=eth0":                             "--physical-network is for a gateway",
		"server --gateway=none --dataplane kernel":                                      "--dataplane is for a gateway",
		"server --topology=neutron":                                                     "--topology=neutron needs --identity=keystone",
		"server --identity=keystone":                                                    "--identity=keystone needs --keystone-url",
		"server --physical-network wan":                                                 `--physical-network "wan": it must be NAME=INTERFACE`,
		"server --physical-network =eth0":                                               "--physical-network",
		"server --physical-network wan=eth0=1":                                          "--physical-network",
		"server --physical-network wan=../x":                                            "--physical-network",
		"server --physical-network wan=lo":                                              "--physical-network \"wan=lo\": the loopback",
		"server --physical-network wan=a --physical-network wan=b":                      "wan is mapped to a already",
		"server --gateway=none --bind-router 6c0b1d2e-1111-4111-8111-111111111111=host": "--bind-router is for a gateway",
		"server --bind-router office=host":                                              `--bind-router "office=host": it begins with the id of a router`,
		"server --bind-router {6c0b1d2e-1111-4111-8111-111111111111}=host":              "it begins with the id of a router",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111":                     "it must be ID=netns:NAME or ID=host",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=":                    "it must be ID=netns:NAME or ID=host",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=eth0":                "it must be ID=netns:NAME or ID=host",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=netns:":              "it must be ID=netns:NAME or ID=host",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=netns:../x":          "cannot be a network namespace's name",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=host --bind-router 6c0b1d2e-1111-4111-8111-111111111111=netns:box": "the router is bound already",
		"server --bind-router 6c0b1d2e-1111-4111-8111-111111111111=host --bind-router 6c0b1d2e-2222-4111-8111-111111111111=host":      "cannot live in the same network namespace",
		agent + "https://vpn.example.net --bind-router office=host":                                                                   "--bind-router",
		agent + "vpn.example.net": `--server "vpn.example.net": it must be http:// or https://`,
		agent + "https://vpn.example.net --physical-network wan=eth0/1": "--physical-network",
		"agent --token-file use_test.go":                                "--server",
		"agent --token-file /nowhere --server https://vpn.example.net":  "--token-file",
	} {
		out, errs, code := o.run("", strings.Fields(args)...)
		command, _, _ := strings.Cut(args, " ")
		line, help, _ := strings.Cut(errs, "\n")
		if code != 2 || out != "" || !strings.Contains(line, said) || strings.Contains(line, "swordfish") || help != "See: culvert "+command+" --help\n" {
			t.Errorf("culvert %s: exit code %d and:\n%s%s\nwant 2, %q and where help is", args, code, out, errs, said)
		}
	}
	if left, err := filepath.Glob(o.cfg.Data); err != nil || len(left) > 0 {
		t.Errorf("made: %v, %v", left, err)
	}
}

// The words that people try first work.
func TestFirstWords(t *testing.T) {
	o := &office{TB: t}
	for args, said := range map[string]string{
		"--version": "culvert test\n", "version": "culvert test\n", "help": "Usage: culvert <command>", "help user": "Usage: culvert user <command>",
		"help user create": "Usage: culvert user create", "": "Usage: culvert <command>",
	} {
		if out := o.must("", strings.Fields(args)...); !strings.HasPrefix(out, said) {
			t.Errorf("culvert %s: %s\nwant %q", args, out, said)
		}
	}
}
