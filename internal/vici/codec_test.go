package vici_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"culvert/internal/vici"
)

// node is a message as plain data, to compare with what a Message answers.
type node struct {
	Key      string
	Kind     string // "value", "list" or "section"
	Value    string
	List     []string
	Children []node
}

func drawNodes(t *rapid.T, depth int) []node {
	kinds := []string{"value", "list", "section"}
	if depth == 0 {
		kinds = kinds[:2]
	}
	bytesUpTo := func(n int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, n).Draw(t, "bytes")) })
	}
	keys := rapid.SliceOfNDistinct(bytesUpTo(255), 0, 5, rapid.ID[string]).Draw(t, "keys")
	var nodes []node
	for _, key := range keys {
		n := node{Key: key, Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		switch n.Kind {
		case "value":
			n.Value = bytesUpTo(400).Draw(t, "value")
		case "list":
			n.List = rapid.SliceOfN(bytesUpTo(40), 1, 4).Draw(t, "list")
		default:
			n.Children = drawNodes(t, depth-1)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func build(nodes []node) *vici.Message {
	m := vici.NewMessage()
	for _, n := range nodes {
		switch n.Kind {
		case "value":
			m.Set(n.Key, n.Value)
		case "list":
			m.SetList(n.Key, n.List...)
		default:
			m.SetSection(n.Key, build(n.Children))
		}
	}
	return m
}

func read(m *vici.Message) []node {
	var nodes []node
	for _, key := range m.Keys() {
		n := node{Key: key, Kind: "value", Value: m.Get(key), List: m.List(key)}
		if s := m.Section(key); s != nil {
			n.Kind, n.Children = "section", read(s)
		} else if n.List != nil {
			n.Kind = "list"
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawNodes(t, 3)
		wire, err := build(want).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		m, err := vici.Decode(wire)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, read(m)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// The example of the protocol description (strongSwan's vici/README.md), byte for byte.
func TestWireForm(t *testing.T) {
	m := vici.NewMessage().Set("key1", "value1").SetSection("section1", vici.NewMessage().
		SetSection("sub-section", vici.NewMessage().Set("key2", "value2")).
		SetList("list1", "item1", "item2"))
	want := "\x03\x04key1\x00\x06value1" +
		"\x01\x08section1" + "\x01\x0bsub-section" + "\x03\x04key2\x00\x06value2" + "\x02" +
		"\x04\x05list1" + "\x05\x00\x05item1" + "\x05\x00\x05item2" + "\x06" + "\x02"
	wire, err := m.MarshalBinary()
	if err != nil || string(wire) != want {
		t.Errorf("got %q, %v\nwant %q", wire, err, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("\x01\x01s", n) + strings.Repeat("\x02", n) }
	if _, err := vici.Decode([]byte(deep(32))); err != nil {
		t.Errorf("32 levels: %v", err)
	}
	for name, wire := range map[string]string{
		"unknown type":             "\x07",
		"type 0":                   "\x00",
		"no key length":            "\x03",
		"key cut":                  "\x03\x04ke",
		"no value length":          "\x03\x01k\x00",
		"value cut":                "\x03\x01k\x00\x02v",
		"section not ended":        "\x01\x01s",
		"section ended twice":      "\x01\x01s\x02\x02",
		"list not ended":           "\x04\x01l\x05\x00\x01i",
		"list item cut":            "\x04\x01l\x05\x00\x02i",
		"list item outside a list": "\x05\x00\x01i",
		"list end outside a list":  "\x06",
		"key-value in a list":      "\x04\x01l\x03\x01k\x00\x01v\x06",
		"list in a list":           "\x04\x01l\x04\x01m\x06\x06",
		"section end in a list":    "\x01\x01s\x04\x01l\x02",
		"too deep":                 deep(33),
		"far too deep":             deep(100000),
	} {
		if m, err := vici.Decode([]byte(wire)); err == nil {
			t.Errorf("%s: accepted as\n%s", name, m)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	loop := vici.NewMessage()
	loop.SetSection("self", loop)
	for name, m := range map[string]*vici.Message{
		"long key":    vici.NewMessage().Set(strings.Repeat("k", 256), ""),
		"long value":  vici.NewMessage().Set("k", strings.Repeat("v", 65536)),
		"long item":   vici.NewMessage().SetList("k", "", strings.Repeat("v", 65536)),
		"endless":     loop,
		"below a key": vici.NewMessage().SetSection("s", vici.NewMessage().Set(strings.Repeat("k", 256), "")),
	} {
		if _, err := m.MarshalBinary(); err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "vvv") {
			t.Errorf("%s: the error tells the value: %v", name, err)
		}
	}
	if loop.String() == "" {
		t.Error("endless message has no text")
	}
	longest := vici.NewMessage().Set(strings.Repeat("k", 255), strings.Repeat("v", 65535))
	if _, err := longest.MarshalBinary(); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Fuzz(func(t *testing.T, wire []byte) {
		m, err := vici.Decode(wire)
		if err != nil {
			return
		}
		again, err := m.MarshalBinary()
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		if !bytes.Equal(again, wire) {
			t.Fatalf("%q became %q", wire, again)
		}
		if (m.String() == "") != (len(wire) == 0) {
			t.Fatalf("text %q of %q", m, wire)
		}
	})
}
