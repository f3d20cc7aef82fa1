package gateway

import (
	"context"
	"time"
)

// Bounds of the search for the largest packet that passes: it asks with some sizes at once, so that it needs few rounds.
const (
	searchSizes  = 8
	searchTwice  = 2 // times each: one may be lost by chance
	searchRounds = 6
)

// search finds the largest packet that is answered, from one that is to one that was not: the latter when that was by chance,
// 0 when not even the former is answered any more. trip is a round trip as it was just now.
func (p *prober) search(ctx context.Context, e *echo, passes, fails int, trip time.Duration) int {
	ask := func(sizes []int) map[int]bool {
		answered := map[int]bool{}
		for range searchTwice {
			var rest []int
			for _, size := range sizes {
				if !answered[size] {
					rest = append(rest, size)
				}
			}
			for size := range p.askQuickly(ctx, e, trip, rest...) {
				answered[size] = true
			}
		}
		return answered
	}
	return searchMTU(ask, passes, fails)
}

// searchMTU is search without a network: ask answers which of the sizes passed.
func searchMTU(ask func([]int) map[int]bool, passes, fails int) int {
	first := ask([]int{passes, fails})
	switch {
	case first[fails]:
		return fails
	case !first[passes]:
		return 0
	}
	for range searchRounds {
		sizes := between(passes, fails)
		if len(sizes) == 0 {
			break
		}
		answered := ask(sizes)
		for i := len(sizes) - 1; i >= 0; i-- {
			if answered[sizes[i]] {
				passes = sizes[i]
				break
			}
			fails = sizes[i]
		}
	}
	return passes
}

// between answers sizes that divide what lies between two into equal parts.
func between(low, high int) []int {
	var out []int
	for i := 1; i <= searchSizes; i++ {
		size := low + (high-low)*i/(searchSizes+1)
		if size > low && size < high && (len(out) == 0 || out[len(out)-1] != size) {
			out = append(out, size)
		}
	}
	if len(out) == 0 && high-low > 1 {
		out = append(out, low+1)
	}
	return out
}

// askQuickly is ask with a wait that fits the round trip that was just seen.
func (p *prober) askQuickly(ctx context.Context, e *echo, trip time.Duration, sizes ...int) map[int]time.Duration {
	return p.askWithin(ctx, e, min(3*trip+150*time.Millisecond, probeWait), sizes...)
}
