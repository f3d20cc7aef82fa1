package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one measured thing beside its raw limit; times are in µs.
type row struct {
	Name     string  `json:"name"`
	N        int     `json:"n"` // measurements, and as many of the limit
	P50      float64 `json:"p50_us"`
	P95      float64 `json:"p95_us"`
	LimitP50 float64 `json:"limit_p50_us"`
	Ratio    float64 `json:"ratio"` // P50 / LimitP50
	aim      aim
}

// aim is what a row is to keep to; zero fields ask for nothing.
type aim struct {
	ratio float64
	p95   time.Duration
}

// newRow sums up the measurements, equally many of each.
func newRow(name string, a aim, got, limit []time.Duration) row {
	r := row{Name: name, N: len(got), P50: quantile(got, 0.50), P95: quantile(got, 0.95), LimitP50: quantile(limit, 0.50), aim: a}
	r.Ratio = math.Round(100*r.P50/r.LimitP50) / 100
	return r
}

// quantile is the smallest measurement that a share q of all does not exceed, in µs.
func quantile(all []time.Duration, q float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return math.Round(sorted[max(i, 0)].Seconds()*1e7) / 10
}

// missed says whether an aim was not kept.
func (r row) missed() bool {
	return r.aim.ratio > 0 && r.Ratio > r.aim.ratio || r.aim.p95 > 0 && r.P95 > float64(r.aim.p95.Microseconds())
}

func (r row) verdict() string {
	var parts []string
	if r.aim.ratio > 0 {
		parts = append(parts, fmt.Sprintf("at most %g times", r.aim.ratio))
	}
	if r.aim.p95 > 0 {
		parts = append(parts, fmt.Sprintf("p95 under %s", r.aim.p95))
	}
	switch {
	case parts == nil:
		return ""
	case r.missed():
		return strings.Join(parts, ", ") + ": MISSED"
	}
	return strings.Join(parts, ", ") + ": kept"
}

func writeRows(path string, rows []row) error {
	text, err := json.MarshalIndent(rows, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the rows: %w", err)
	}
	return nil
}

func printTable(out io.Writer, rows []row) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "what\tn\tp50\tp95\traw limit p50\tratio\taim")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%.2f\t%s\n", r.Name, r.N, human(r.P50), human(r.P95), human(r.LimitP50), r.Ratio, r.verdict())
	}
	w.Flush()
}

// human writes µs with three digits.
func human(us float64) string {
	switch {
	case us < 1000:
		return fmt.Sprintf("%.0f µs", us)
	case us < 100_000:
		return fmt.Sprintf("%.3g ms", us/1000)
	}
	return fmt.Sprintf("%.0f ms", us/1000)
}
