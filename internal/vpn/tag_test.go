package vpn

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// like is the regular expression that a pattern means.
func TestLike(t *testing.T) {
	text := rapid.StringOf(rapid.SampledFrom([]rune("ab*.\\ü")))
	rapid.Check(t, func(r *rapid.T) {
		pattern, s := text.Draw(r, "pattern"), text.Draw(r, "text")
		re := regexp.MustCompile(`^(?s)` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `$`)
		if got, want := like(pattern, s), re.MatchString(s); got != want {
			r.Errorf("like(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

// Tags behave as a map, listed by key.
func TestTagsAreAMap(t *testing.T) {
	key := rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 1, 2, -1)
	rapid.Check(t, func(r *rapid.T) {
		tags, model := Tags(nil), map[string]string{}
		for range rapid.IntRange(0, 20).Draw(r, "steps") {
			one := Tag{key.Draw(r, "key"), rapid.SampledFrom([]string{"", "x", "y"}).Draw(r, "value")}
			if rapid.Bool().Draw(r, "add") {
				tags, model[one.Key] = tags.with([]Tag{one}), one.Value
			} else {
				tags = tags.without([]Tag{one})
				delete(model, one.Key)
			}
			if len(tags) != len(model) || !slices.IsSortedFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) }) {
				r.Fatalf("%v, want %v in order", tags, model)
			}
			for _, tag := range tags {
				if v, ok := model[tag.Key]; !ok || v != tag.Value {
					r.Fatalf("%v, want %v", tags, model)
				}
			}
		}
	})
}
