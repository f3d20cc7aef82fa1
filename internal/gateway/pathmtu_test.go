package gateway

import (
	"testing"

	"pgregory.net/rapid"
)

// The search finds the largest size that passes, with few questions.
func TestSearchMTU(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		passes := rapid.IntRange(36, 100).Draw(t, "passes")
		fails := rapid.IntRange(passes+1, 9000).Draw(t, "fails")
		limit := rapid.IntRange(passes, fails-1).Draw(t, "limit")
		rounds, asked := 0, 0
		got := searchMTU(func(sizes []int) map[int]bool {
			rounds++
			out := map[int]bool{}
			for _, size := range sizes {
				asked++
				out[size] = size <= limit
			}
			return out
		}, passes, fails)
		if got != limit || rounds > searchRounds+1 || asked > 2+searchRounds*searchSizes {
			t.Fatalf("from %d to %d, %d pass: found %d after %d rounds with %d packets", passes, fails, limit, got, rounds, asked)
		}
	})
}

func TestSearchWithoutABlackHole(t *testing.T) {
	if got := searchMTU(func(sizes []int) map[int]bool { return map[int]bool{36: true, 1400: true} }, 36, 1400); got != 1400 {
		t.Errorf("the large one was lost by chance: %d", got)
	}
	if got := searchMTU(func(sizes []int) map[int]bool { return nil }, 36, 1400); got != 0 {
		t.Errorf("nothing passes any more: %d", got)
	}
}

func TestChecksum(t *testing.T) { // RFC 1071 section 3
	if got := ^checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != 0xddf2 {
		t.Errorf("sum %04x, want ddf2", got)
	}
	if got := ^checksum([]byte{0x00, 0x01, 0xf2}); got != 0xf201 {
		t.Errorf("odd length: sum %04x, want f201", got)
	}
}
