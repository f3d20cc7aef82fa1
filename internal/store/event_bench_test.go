package store

import (
	"fmt"
	"testing"

	"culvert/internal/resource"
)

// BenchmarkNote is what an event costs within a change, when as many are there as are kept.
func BenchmarkNote(b *testing.B) {
	s, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	doc := []byte(fmt.Sprintf(`{"summary":"%0400d"}`, 0))
	_, err = s.Change(b.Context(), func(t resource.Tx) error {
		for r := range 20 {
			row := resource.Row{ID: fmt.Sprint(r), Kind: "k", CreatedAt: "x", Doc: []byte("{}")}
			if err := t.Insert(b.Context(), row); err != nil {
				return err
			}
			for i := range 1000 {
				if _, err := t.Note(b.Context(), resource.Event{Row: row.ID, ID: fmt.Sprint("a", i), CreatedAt: fmt.Sprintf("%09d", i), Type: "t", Doc: doc}, 1000); err != nil {
					return err
				}
			}
		}
		b.ResetTimer()
		for i := range b.N {
			if _, err := t.Note(b.Context(), resource.Event{Row: fmt.Sprint(i % 20), ID: fmt.Sprint(i), CreatedAt: fmt.Sprintf("9%09d", i), Type: "t", Doc: doc}, 1000); err != nil {
				return err
			}
		}
		b.StopTimer()
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
