package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"culvert/internal/resource"
)

func text(name string) resource.Column { return resource.Column{Name: name, Type: resource.Text} }
func number(name string) resource.Column {
	return resource.Column{Name: name, Type: resource.Number}
}
func boolean(name string) resource.Column { return resource.Column{Name: name, Type: resource.Bool} }

func (s *suite) filters() {
	a := row("a", `{"name":"n1","mtu":1500,"up":true,"router:external":"x"}`)
	b := row("b", `{"name":"n2","mtu":-1,"up":false,"router:external":"it's"}`)
	c := row("c", `{"name":null,"mtu":null,"up":null}`)
	d := row("d", `{"name":"","mtu":9007199254740993}`)
	a.CreatedAt, b.ProjectID = "2026-01-02 00:00:00.000000", "q"
	s.insert(a, b, c, d)
	for _, test := range []struct {
		column resource.Column
		values []string
		want   string
	}{
		{text("name"), []string{"n1"}, "a"}, {text("name"), []string{"n1", "n2", "n1"}, "a b"},
		{text("name"), []string{""}, "c d"}, {text("name"), []string{"N1"}, ""}, {text("name"), nil, ""},
		{text("router:external"), []string{"it's"}, "b"}, {text("absent"), []string{""}, "a b c d"},
		{number("mtu"), []string{"1500"}, "a"}, {number("mtu"), []string{"-1", "1500"}, "a b"},
		{number("mtu"), []string{"9007199254740993"}, "d"}, {number("mtu"), []string{"9007199254740992"}, ""},
		{number("mtu"), []string{"0"}, ""}, {number("mtu"), []string{"", "x", "1.5", "99999999999999999999"}, ""},
		{number("mtu"), []string{"-9223372036854775808", "-9223372036854775807"}, ""},
		{boolean("up"), []string{"true"}, "a"}, {boolean("up"), []string{"false"}, "b"},
		{boolean("up"), []string{"true", "false"}, "a b"}, {boolean("up"), []string{"1", "null", ""}, ""},
		{text("id"), []string{"d", "a"}, "a d"}, {text("tenant_id"), []string{"q"}, "b"}, {text("project_id"), []string{"p"}, "a c d"},
		{text("created_at"), []string{a.CreatedAt}, "a"},
	} {
		q := resource.Query{Kind: "thing", Filters: []resource.Filter{{Column: test.column, Values: test.values}},
			Order: []resource.Order{{Column: text("id")}}}
		if got := strings.Join(s.ids(q), " "); got != test.want {
			s.Errorf("%v = %q: got %q, want %q", test.column, test.values, got, test.want)
		}
	}
	both := []resource.Filter{{Column: text("name"), Values: []string{"n1", "n2"}}, {Column: boolean("up"), Values: []string{"false"}}}
	s.equal(s.ids(resource.Query{Kind: "thing", Filters: both}), []string{"b"})
	for _, name := range []string{"", "a'b", "a b", "Ä", "a\"", "a;", "NAME"} {
		if _, err := s.find(resource.Query{Kind: "thing", Order: []resource.Order{{Column: text(name)}}}); err == nil {
			s.Errorf("column name %q was taken", name)
		}
	}
}

func (s *suite) scope() {
	for i, project := range []string{"p", "q", "q", ""} {
		r := row(fmt.Sprintf("r%d", i), "{}")
		r.ProjectID, r.Shared = project, i == 1
		s.insert(r)
	}
	other := row("o", "{}")
	other.Kind = "other"
	s.insert(other)
	s.equal(s.ids(resource.Query{Kind: "thing"}), []string{"r0", "r1", "r2", "r3"})
	s.equal(s.ids(resource.Query{Kind: "thing", ProjectID: "p"}), []string{"r0"})
	s.equal(s.ids(resource.Query{Kind: "thing", ProjectID: "p", WithShared: true}), []string{"r0", "r1"})
	s.equal(s.ids(resource.Query{Kind: "thing", WithShared: true}), []string{"r0", "r1", "r2", "r3"})
	s.equal(s.ids(resource.Query{Kind: "thing", ProjectID: "q", After: 2}), []string{"r2"})
	s.equal(s.ids(resource.Query{Kind: "none"}), []string{})
}

func (s *suite) order() {
	s.insert(row("a", `{"n":2,"t":"x","b":true}`), row("b", `{"n":10,"t":"x"}`), row("c", `{"t":"y","b":false}`), row("d", `{"n":2}`))
	for _, test := range []struct {
		order []resource.Order
		want  string
	}{
		{nil, "a b c d"},
		{[]resource.Order{{Column: number("n")}}, "c a d b"}, // null first, then as numbers
		{[]resource.Order{{Column: number("n"), Desc: true}}, "b a d c"},
		{[]resource.Order{{Column: text("t")}, {Column: number("n"), Desc: true}}, "d b a c"},
		{[]resource.Order{{Column: boolean("b")}}, "b d c a"},
		{[]resource.Order{{Column: text("id"), Desc: true}, {Column: number("n")}}, "d c b a"},
	} {
		s.equal(strings.Join(s.ids(resource.Query{Kind: "thing", Order: test.order}), " "), test.want)
	}
}

// bytes: text sorts as bytes, whatever the database thinks of languages.
func (s *suite) bytes() {
	names := []string{"a", "B", "ä", "_", "A", "b", "z", "-a", "a-", "É", "é", "e"}
	for i, n := range names {
		s.insert(row(fmt.Sprintf("%s%d", n, i), fmt.Sprintf(`{"name":%q}`, n)))
	}
	slices.Sort(names)
	all, err := s.find(resource.Query{Kind: "thing", Order: []resource.Order{{Column: text("name")}}})
	s.must(err)
	for i, r := range all {
		s.equal(string(r.Doc), fmt.Sprintf(`{"name":%q}`, names[i]))
	}
	ids := s.ids(resource.Query{Kind: "thing"})
	if !slices.IsSorted(ids) {
		s.Errorf("ids are not in the order of bytes: %q", ids)
	}
}

func (s *suite) marker() {
	mine, theirs, shared := row("a", "{}"), row("b", "{}"), row("c", "{}")
	theirs.ProjectID, shared.ProjectID, shared.Shared = "q", "q", true
	s.insert(mine, theirs, shared, row("d", "{}"))
	q := resource.Query{Kind: "thing", ProjectID: "p", Marker: "a"}
	s.equal(s.ids(q), []string{"d"})
	for _, marker := range []string{"b", "c", "nope"} {
		q.Marker = marker
		_, err := s.find(q)
		s.is(err, resource.ErrNotFound)
	}
	q.WithShared, q.Marker = true, "c"
	s.equal(s.ids(q), []string{"d"})
	q.Kind = "other"
	_, err := s.find(q)
	s.is(err, resource.ErrNotFound)
	q = resource.Query{Kind: "thing", Marker: "b", Filters: []resource.Filter{{Column: text("id"), Values: []string{"a", "d"}}}}
	s.equal(s.ids(q), []string{"d"}) // the marker itself need not match the filters
}

func (s *suite) callback() {
	s.insert(rows(10)...)
	mine, n := errors.New("mine"), 0
	err := s.store.View(s.ctx, func(r resource.Reader) error {
		return r.Find(s.ctx, resource.Query{Kind: "thing"}, func(*resource.Row) error {
			if n++; n == 3 {
				return mine
			}
			return nil
		})
	})
	s.is(err, mine)
	s.equal(n, 3)
	err = s.store.View(s.ctx, func(r resource.Reader) error {
		return r.Find(s.ctx, resource.Query{Kind: "thing"}, func(row *resource.Row) error {
			_, err := r.Get(s.ctx, "thing", row.ID)
			return err
		})
	})
	if err == nil {
		s.Error("a read inside a callback was taken")
	}
	s.equal(len(s.ids(resource.Query{Kind: "thing"})), 10)
}

// item is a row of the property test, with what its columns compare as.
type item struct {
	id, name, created string
	n                 int64 // nullNumber for null
	b                 int   // 0 null, 1 false, 2 true
}

const nullNumber = -1 << 63

func (i item) doc() string {
	doc := fmt.Sprintf(`{"name":%q`, i.name)
	if i.n != nullNumber {
		doc += fmt.Sprintf(`,"n":%d`, i.n)
	}
	return doc + []string{``, `,"b":false`, `,"b":true`}[i.b] + "}"
}

// compare orders two items by order, the id last.
func compare(order []resource.Order, a, b item) int {
	for _, o := range order {
		c := 0
		switch o.Column.Name {
		case "name":
			c = strings.Compare(a.name, b.name)
		case "n":
			c = int(min(max(sign(a.n, b.n), -1), 1))
		case "b":
			c = a.b - b.b
		case "created_at":
			c = strings.Compare(a.created, b.created)
		case "id":
			c = strings.Compare(a.id, b.id)
		}
		if o.Desc {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return strings.Compare(a.id, b.id)
}

func sign(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// pages: keyset pages, forward and in reverse, equal slices of the sorted whole.
func (s *suite) pages() {
	set := 0
	rapid.Check(s.T, func(t *rapid.T) {
		set++
		kind := fmt.Sprintf("set%d", set)
		items := drawItems(t, kind)
		s.change(func(tx resource.Tx) error {
			for _, i := range items {
				r := row(i.id, i.doc())
				r.Kind, r.CreatedAt = kind, i.created
				if err := tx.Insert(s.ctx, r); err != nil {
					return err
				}
			}
			return nil
		})
		for range 5 {
			s.page(t, kind, items)
		}
	})
}

func (s *suite) page(t *rapid.T, kind string, items []item) {
	columns := []resource.Column{text("name"), number("n"), boolean("b"), text("created_at"), text("id")}
	order := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) resource.Order {
		return resource.Order{Column: rapid.SampledFrom(columns).Draw(t, "column"), Desc: rapid.Bool().Draw(t, "desc")}
	}), 1, 3).Draw(t, "order")
	q := resource.Query{Kind: kind, Order: order, Limit: rapid.IntRange(0, 6).Draw(t, "limit"), Reverse: rapid.Bool().Draw(t, "reverse")}
	slices.SortFunc(items, func(a, b item) int { return compare(order, a, b) })
	if rapid.Bool().Draw(t, "by name") {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "A", "nobody"}), 1, 3).Draw(t, "names")
		q.Filters = []resource.Filter{{Column: text("name"), Values: names}}
		items = slices.DeleteFunc(slices.Clone(items), func(i item) bool { return !slices.Contains(names, i.name) })
	}
	from, to := 0, len(items)
	if at := rapid.IntRange(-1, len(items)-1).Draw(t, "marker"); at >= 0 {
		q.Marker = items[at].id
		if from = at + 1; q.Reverse {
			from, to = 0, at
		}
	}
	if q.Limit > 0 && q.Reverse {
		from = max(from, to-q.Limit)
	} else if q.Limit > 0 {
		to = min(to, from+q.Limit)
	}
	want := []string{}
	for _, i := range items[from:to] {
		want = append(want, i.id)
	}
	if got := s.ids(q); !slices.Equal(got, want) {
		t.Fatalf("%+v:\ngot  %q\nwant %q", q, got, want)
	}
}

// drawItems draws rows with many equal columns.
func drawItems(t *rapid.T, kind string) []item {
	items := make([]item, rapid.IntRange(1, 15).Draw(t, "rows"))
	for i, at := range rapid.Permutation(slices.Collect(indices(len(items)))).Draw(t, "ids") {
		items[i] = item{
			id:      fmt.Sprintf("%s-%02d", kind, at),
			name:    rapid.SampledFrom([]string{"", "a", "A", "b", "ä", "a'"}).Draw(t, "name"),
			created: rapid.SampledFrom([]string{"2026-01-01 00:00:00.000000", "2026-01-01 00:00:00.000001"}).Draw(t, "created"),
			n:       rapid.SampledFrom([]int64{nullNumber, -5, 0, 2, 10, 1 << 62}).Draw(t, "n"),
			b:       rapid.IntRange(0, 2).Draw(t, "b"),
		}
	}
	return items
}

func indices(n int) func(func(int) bool) {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}
