// Package rooms holds the folders to the directions that docs/architecture.md draws: who may know of whom.
package rooms

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may lists, for each package, the packages of this module that it may import; a package missing here may not exist.
// Read from below: what stands first knows nothing of what follows.
var may = map[string]string{
	"internal/resource": "",
	"internal/vici":     "",
	"internal/keyring":  "",
	"internal/client":   "",
	"internal/identity": "resource",
	"internal/crud":     "resource identity",
	"internal/topology": "resource identity crud",
	"internal/vpn":      "resource identity crud",
	"internal/store":    "resource",
	"internal/keystone": "resource identity",
	"internal/neutron":  "resource identity crud vpn",
	"internal/udpbuf":   "",
	"internal/gateway":  "vpn vici udpbuf",
	"internal/agent":    "vpn resource",
	"internal/metrics":  "vpn resource",
	"internal/openapi":  "resource",
	"internal/api":      "openapi vpn crud identity resource",
	"internal/server":   "api store topology vpn crud identity keyring resource keystone neutron metrics",
	"internal/lab":      "udpbuf",
	"internal/site":     "client gateway lab",
	"internal/demo":     "client lab site",
	"internal/fault":    "client lab site",
	"internal/cli":      "server agent gateway demo fault client keyring store api identity keystone vpn resource",
	".":                 "cli",
	// For tests alone: nothing that is shipped may import these.
	"internal/store/pgtest":    "",
	"internal/store/storetest": "resource",
	"internal/vici/vicitest":   "vici",
	"internal/vpntest":         "*",
	"internal/testbox":         "",
	"internal/uml":             "testbox",
	"internal/sitetest":        "client gateway lab testbox",
}

// never are libraries that must stay in one place.
var never = map[string]string{
	"net/http":                        "internal/api internal/agent internal/client internal/cli internal/server internal/identity internal/keystone internal/neutron internal/resource internal/metrics internal/vpntest",
	"github.com/prometheus/":          "internal/metrics",
	"database/sql":                    "internal/store internal/store/pgtest",
	"github.com/vishvananda/netlink":  "internal/gateway internal/lab internal/vici/vicitest internal/testbox internal/sitetest",
	"github.com/gophercloud/":         "internal/keystone internal/neutron",
	"github.com/google/nftables":      "internal/gateway",
	"github.com/tink-crypto/tink-go/": "internal/keyring",
	"testing":                         "internal/store/pgtest internal/store/storetest internal/vici/vicitest internal/vpntest internal/testbox internal/sitetest",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, "culvert"), "/")
		if room == "" {
			room = "."
		}
		if strings.HasPrefix(room, "test/") {
			continue
		}
		allowed, known := may[room]
		if !known {
			t.Errorf("package %s is in no list: say in docs/architecture.md and here what it is for and whom it may import", room)
			continue
		}
		for _, imp := range p.Imports {
			checkOwn(t, room, allowed, imp)
			checkLibrary(t, room, imp)
		}
	}
}

func checkOwn(t *testing.T, room, allowed, imp string) {
	own, ok := strings.CutPrefix(imp, "culvert/internal/")
	if ok && allowed != "*" && !slices.Contains(strings.Fields(allowed), own) {
		t.Errorf("%s imports %s; it may import: %s", room, own, allowed)
	}
}

func checkLibrary(t *testing.T, room, imp string) {
	for lib, rooms := range never {
		if (imp == lib || strings.HasSuffix(lib, "/") && strings.HasPrefix(imp, lib)) && !slices.Contains(strings.Fields(rooms), room) {
			t.Errorf("%s imports %s, which belongs in: %s", room, imp, rooms)
		}
	}
}

func packages(t *testing.T) (out []pkg) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "culvert/...")
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(text))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	if len(out) < 10 {
		t.Fatalf("go list names %d packages only", len(out))
	}
	return out
}
