package dataplane

import (
	"fmt"
	"strings"
)

// table is one that a test prints, in Markdown.
type table struct{ text strings.Builder }

func newTable(head ...any) *table {
	t := &table{}
	t.row(head...)
	t.row(strings.Split(strings.TrimSpace(strings.Repeat("--- ", len(head))), " "))
	return t
}

func (t *table) row(cells ...any) {
	if list, ok := cells[0].([]string); ok {
		cells = nil
		for _, c := range list {
			cells = append(cells, c)
		}
	}
	for _, c := range cells {
		fmt.Fprintf(&t.text, "| %v ", c)
	}
	t.text.WriteString("|\n")
}

func (t *table) String() string { return t.text.String() }
