package vici_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/vici"
)

func TestSetReplacesInPlace(t *testing.T) {
	m := vici.NewMessage().Set("a", "1").SetList("b", "x").SetSection("c", nil).Set("b", "2").SetList("a")
	if diff := cmp.Diff([]string{"a", "b", "c"}, m.Keys()); diff != "" {
		t.Error(diff)
	}
	if m.Get("b") != "2" || m.List("b") != nil || m.Get("a") != "" || m.Section("c") == nil {
		t.Errorf("replaced:\n%s", m)
	}
}

func TestNilMessage(t *testing.T) {
	var m *vici.Message
	if m.Get("k") != "" || m.List("k") != nil || m.Section("k") != nil || len(m.Keys()) != 0 || m.String() != "" {
		t.Error("a nil message is not empty")
	}
	for range m.Sections() {
		t.Error("a nil message has sections")
	}
	if wire, err := m.MarshalBinary(); err != nil || len(wire) != 0 {
		t.Errorf("wire form of a nil message: %q, %v", wire, err)
	}
	if m.Section("a").Section("b").Set("k", "v").Get("k") != "v" {
		t.Error("Set on a nil message is lost")
	}
}

// A message may name a key twice on the wire; nothing of it is lost.
func TestDuplicateKeys(t *testing.T) {
	wire := "\x03\x01k\x00\x011" + "\x01\x01s\x02" + "\x03\x01k\x00\x012" + "\x01\x01s\x03\x01x\x00\x00\x02"
	m, err := vici.Decode([]byte(wire))
	if err != nil {
		t.Fatal(err)
	}
	if m.Get("k") != "1" || !slices.Equal(m.Keys(), []string{"k", "s", "k", "s"}) {
		t.Errorf("decoded:\n%s", m)
	}
	var sizes []int
	for key, s := range m.Sections() {
		if key != "s" {
			t.Errorf("section %q", key)
		}
		sizes = append(sizes, len(s.Keys()))
	}
	if !slices.Equal(sizes, []int{0, 1}) {
		t.Errorf("sections of %v keys", sizes)
	}
}

func TestString(t *testing.T) {
	m := vici.NewMessage().
		SetSection("conn", vici.NewMessage().
			Set("version", "2").
			SetList("local_addrs", "192.0.2.1", "2001:db8::1").
			SetList("none").
			SetSection("empty", nil).
			Set("odd key", " x\n").
			SetList("odd", "a, b", "", "[c]")).
		Set("id", "CN=peer, O=Culvert").
		Set("type", "IKE").
		Set("data", "very secret").
		SetSection("deeper", vici.NewMessage().SetList("data", "secret", "too").Set("pin", "secret"))
	want := strings.TrimPrefix(`
conn {
  version = 2
  local_addrs = [192.0.2.1, 2001:db8::1]
  none = []
  empty {
  }
  odd key = " x\n"
  odd = ["a, b", "", "[c]"]
}
id = "CN=peer, O=Culvert"
type = IKE
data = ******
deeper {
  data = ******
  pin = ******
}
`, "\n")
	if diff := cmp.Diff(want, m.String()); diff != "" {
		t.Error(diff)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, m); strings.Contains(text, "secret") {
			t.Errorf("%s shows the secret: %s", format, text)
		}
	}
}
