package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"culvert/internal/resource"
	"culvert/internal/store"
	"culvert/internal/store/pgtest"
)

const benchRows = 1000

// fill opens a store with 1,000 connections of about 1 KB, each with a sealed secret of 80 bytes.
func fill(b *testing.B, c store.Config) resource.Store {
	b.Helper()
	st, err := store.Open(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	_, err = st.Change(b.Context(), func(t resource.Tx) error {
		for i := range benchRows {
			if err := t.Insert(b.Context(), benchRow(i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func benchRow(i int) resource.Row {
	return resource.Row{
		ID: fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(i*2654435761), i), Kind: "ipsec_site_connection",
		ProjectID: "0123456789abcdef0123456789abcdef", Intent: int64(i),
		CreatedAt: fmt.Sprintf("2026-01-01 00:00:00.%06d", i),
		Doc:       fmt.Appendf(nil, `{"name":"connection %d","description":"%s"}`, i, strings.Repeat("x", 960)),
		Sealed:    []byte(strings.Repeat("s", 80)),
	}
}

// BenchmarkFind1000 lists 1,000 rows of one project; us/row is what a row costs.
func BenchmarkFind1000(b *testing.B) {
	engines(b, func(b *testing.B, ctx context.Context, st resource.Store) {
		q := resource.Query{Kind: "ipsec_site_connection", ProjectID: benchRow(0).ProjectID}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			err := st.View(ctx, func(r resource.Reader) error {
				return r.Find(ctx, q, func(*resource.Row) error { n++; return nil })
			})
			if err != nil || n != benchRows {
				b.Fatalf("%d rows, %v", n, err)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/benchRows, "us/row")
	})
}

// BenchmarkGet reads one row in a View of its own.
func BenchmarkGet(b *testing.B) {
	engines(b, func(b *testing.B, ctx context.Context, st resource.Store) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			want := benchRow(i % benchRows)
			err := st.View(ctx, func(r resource.Reader) error {
				_, err := r.Get(ctx, want.Kind, want.ID)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChange updates one row: the price of a durable commit.
func BenchmarkChange(b *testing.B) {
	engines(b, func(b *testing.B, ctx context.Context, st resource.Store) {
		for i := 0; b.Loop(); i++ {
			r := benchRow(i % benchRows)
			if _, err := st.Change(ctx, func(t resource.Tx) error { return t.Update(ctx, r) }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// engines runs a benchmark on both, with a context that can be cancelled, as a request's can.
func engines(b *testing.B, fn func(*testing.B, context.Context, resource.Store)) {
	b.Run("SQLite", func(b *testing.B) {
		fn(b, b.Context(), fill(b, store.Config{Dir: b.TempDir()}))
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		fn(b, b.Context(), fill(b, store.Config{URL: pgtest.Start(b)}))
	})
}
