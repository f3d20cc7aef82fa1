package vici

import (
	"strconv"
	"strings"
)

const masked = "******"

// String returns the message as indented text that ends in a newline ("" when empty), in the manner of swanctl.conf:
//
//	version = 2
//	local_addrs = [192.0.2.1, 192.0.2.2]
//	children {
//	  net = "with \"quotes\""
//	}
//
// Secrets (values and lists of the keys "data" and "pin", as in load-shared, load-key and load-token) show as ******.
func (m *Message) String() string {
	var b strings.Builder
	m.print(&b, 0)
	return b.String()
}

// GoString is String, so that %#v shows no secret either.
func (m *Message) GoString() string { return m.String() }

func (m *Message) print(b *strings.Builder, depth int) {
	if m == nil {
		return
	}
	indent := strings.Repeat("  ", depth)
	if depth > maxDepth { // a section that contains itself
		b.WriteString(indent + "…\n")
		return
	}
	for _, e := range m.elements {
		b.WriteString(indent + quote(e.key))
		switch {
		case e.kind == kindSection:
			b.WriteString(" {\n")
			e.section.print(b, depth+1)
			b.WriteString(indent + "}\n")
		case e.key == "data" || e.key == "pin":
			b.WriteString(" = " + masked + "\n")
		case e.kind == kindList:
			b.WriteString(" = [" + quoteAll(e.list) + "]\n")
		default:
			b.WriteString(" = " + quote(e.value) + "\n")
		}
	}
}

func quoteAll(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = quote(item)
	}
	return strings.Join(quoted, ", ")
}

// quote returns s as it is when it cannot be misread, else as a Go string literal.
func quote(s string) string {
	if s == "" || s != strings.TrimSpace(s) || strings.ContainsAny(s, "\"\\,[]{}=") {
		return strconv.Quote(s)
	}
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return strconv.Quote(s)
		}
	}
	return s
}
