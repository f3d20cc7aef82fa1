package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"culvert/internal/resource"
	"culvert/internal/store/pgtest"
)

// TestPlans asks both engines which index they take for the queries that must stay fast when there are many rows.
func TestPlans(t *testing.T) {
	name := resource.Column{Name: "name", Type: resource.Text}
	named := []resource.Filter{{Column: name, Values: []string{"n"}}}
	tests := []struct {
		name, index string
		sorted      bool // the index gives the order, nothing is sorted
		query       resource.Query
	}{
		{"list", "resources_list", true, resource.Query{Kind: "k", ProjectID: "p1"}},
		{"all", "resources_all", true, resource.Query{Kind: "k"}},
		{"page", "resources_list", true, resource.Query{Kind: "k", ProjectID: "p1", Limit: 10, Marker: "21"}},
		{"name", "resources_name", false, resource.Query{Kind: "k", Filters: named}},
		{"name in project", "resources_name", false, resource.Query{Kind: "k", ProjectID: "p1", Filters: named, Limit: 2}},
	}
	engines := map[string]string{"SQLite": "EXPLAIN QUERY PLAN ", "PostgreSQL": "EXPLAIN "}
	for engine, explain := range engines {
		t.Run(engine, func(t *testing.T) {
			s := planStore(t, engine)
			for _, test := range tests {
				plan := planOf(t, s, explain, test.query)
				sorts := strings.Contains(plan, "TEMP B-TREE") || strings.Contains(plan, "Sort")
				if !strings.Contains(plan, test.index) || sorts && test.sorted {
					t.Errorf("%s: want index %s, got\n%s", test.name, test.index, plan)
				}
			}
		})
	}
}

// planStore opens a store with 1,000 rows of 20 projects. PostgreSQL is told to shun what it would prefer for a table as
// small as that, and to count its rows; SQLite must do without.
func planStore(t *testing.T, engine string) *Store {
	ctx, c := t.Context(), Config{Dir: t.TempDir()}
	if engine == "PostgreSQL" {
		c.URL = pgtest.Start(t) + "&options=-cenable_seqscan%3Doff%20-cenable_bitmapscan%3Doff%20-cenable_sort%3Doff"
	}
	s, err := Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	_, err = s.Change(ctx, func(tx resource.Tx) error {
		for i := range 1000 {
			r := resource.Row{ID: fmt.Sprint(i), Kind: "k", ProjectID: fmt.Sprint("p", i%20), CreatedAt: fmt.Sprint(i),
				Doc: fmt.Appendf(nil, `{"name":"n%d"}`, i)}
			if err := tx.Insert(ctx, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := s.engine.(*postgres); ok {
		if _, err := e.pool.Exec(ctx, "ANALYZE resources"); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func planOf(t *testing.T, s *Store, explain string, q resource.Query) (plan string) {
	ctx := context.Background()
	err := s.engine.view(ctx, func(c session) error {
		r := &reader{session: c}
		b, err := r.build(ctx, q)
		if err != nil {
			return err
		}
		return r.query(ctx, false, explain+b.rows(q), b.args, func(cols [][]byte) error {
			plan += string(cols[len(cols)-1]) + "\n"
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}
