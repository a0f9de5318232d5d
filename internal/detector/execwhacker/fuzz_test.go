//go:build !race

package execwhacker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/naive"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// FuzzTheKernelsMatcher compares the matcher in the kernel with the one in Go and, for short
// texts, with package naive. It builds texts from the rules by recipes. It needs root.
func FuzzTheKernelsMatcher(f *testing.F) {
	testutil.Privileged(f)
	sets := newFuzzSets(f)
	for i := range sets {
		f.Add(byte(i), []byte{5, 5, 2, 0, 0})                              // a ban
		f.Add(byte(i), []byte{1, 0, 7, 3, 11, 5, 2, 0, 0, 5, 6, 0})        // beginnings, many times
		f.Add(byte(i), []byte{5, 2, 0, 0, 4, 0, 33, 2, 0, 0, 5, 0, 0, 65}) // a long argv[0]
	}
	f.Fuzz(func(t *testing.T, set byte, recipe []byte) {
		s := sets[int(set)%len(sets)]
		s.judge(t, recipe)
	})
}

// TestTheKernelJudgesTextsMadeOfTheRules runs the fuzz target with fixed random recipes.
func TestTheKernelJudgesTextsMadeOfTheRules(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	rnd := rand.New(rand.NewPCG(9, 10))
	rounds := testutil.Rounds(t, 1500)
	outcomes := make(map[match.Outcome]int)
	for _, s := range newFuzzSets(t) {
		t.Run(s.name, func(t *testing.T) {
			for range rounds {
				recipe := make([]byte, 1+rnd.IntN(60))
				for i := range recipe {
					recipe[i] = byte(rnd.IntN(256) >> rnd.IntN(8))
				}
				outcomes[s.judge(t, recipe)]++
				if t.Failed() {
					t.Fatalf("recipe %v", recipe)
				}
			}
		})
	}
	for o := match.NoMatch; o <= match.Banned; o++ {
		if outcomes[o] < rounds/20 {
			t.Errorf("only %d cases had outcome %v", outcomes[o], o)
		}
	}
}

// A fuzzSet is a set of rules in the kernel.
type fuzzSet struct {
	name string
	m    *match.Matcher
	k    *kernelMatcher
}

func newFuzzSets(t testing.TB) (sets []fuzzSet) {
	rnd := rand.New(rand.NewPCG(11, 12))
	builtin := rules.Builtin()
	builtin.Bans = append(builtin.Bans, rules.Ban{Text: "trial.example", Action: rules.Observe})
	for _, s := range []struct {
		name string
		set  rules.Set
	}{
		{"built-in", builtin},
		{"overlapping bans, 4 allow patterns", rules.Set{Bans: overlapping(rnd, 30, 3), Allowed: allowing(4)}},
		{"short bans, 64 allow patterns", rules.Set{Bans: overlapping(rnd, 6, 1), Allowed: allowing(64)}},
		{"long bans, 64 allow patterns", rules.Set{Bans: overlapping(rnd, 200, 30), Allowed: allowing(64)}},
	} {
		m := mustCompile(t, s.set)
		sets = append(sets, fuzzSet{s.name, m, newKernelMatcher(t, m)})
	}
	return sets
}

// overlapping returns n bans of a few letters, of at least that many bytes, that overlap and
// contain each other.
func overlapping(rnd *rand.Rand, n, least int) (bans []rules.Ban) {
	letters := []string{"a", "a", "A", "b", "-", "_", " ", ".", "é"}
	for range n {
		var b strings.Builder
		if len(bans) > 0 && rnd.IntN(2) == 0 { // with a prefix of another ban
			other := bans[rnd.IntN(len(bans))].Text
			b.WriteString(other[:rnd.IntN(len(other))])
		}
		for size := least + rnd.IntN(least+6); b.Len() < size; {
			b.WriteString(letters[rnd.IntN(len(letters))])
		}
		bans = append(bans, rules.Ban{
			Kind:   []rules.Kind{rules.Word, rules.Substring, rules.Program}[rnd.IntN(3)],
			Action: []rules.Action{rules.Kill, rules.Observe}[rnd.IntN(2)],
			Text:   strings.ToValidUTF8(b.String(), "é"),
		})
	}
	return bans
}

// allowing returns n allow patterns. Each one without its operators is a text that it matches.
func allowing(n int) (patterns []rules.Pattern) {
	for i := range n {
		word := fmt.Sprintf("ok%c%c", 'a'+i%8, 'a'+i/8)
		patterns = append(patterns, rules.Pattern{Expr: []string{
			`.*` + word + `.*`, `.*` + word, `(?s).* ` + word + `b`, `/usr/bin/` + word + ` .*`,
		}[i%4]})
	}
	return patterns
}

// judge compares the results for a command line made by a recipe, and returns the outcome.
func (s fuzzSet) judge(t testing.TB, recipe []byte) match.Outcome {
	path, argv := s.cook(recipe)
	outcome := s.k.same(t, s.m, path, argv)
	if total := len(path) + len(strings.Join(argv, " ")); total > 4096 {
		return outcome
	}
	action, allowed := naive.Judge(s.m.Set, naive.Command{Path: path, Argv: argv})
	want := match.NoMatch
	switch {
	case allowed:
		want = match.Allowed
	case action == rules.Observe:
		want = match.Observed
	case action == rules.Kill:
		want = match.Banned
	}
	if outcome != want {
		t.Errorf("got %v, the reference says %v, for %.200q %.200q", outcome, want, path, argv)
	}
	return outcome
}

// cook makes a command line. A recipe is a list of steps with their numbers; numbers missing at
// its end are 0.
func (s fuzzSet) cook(recipe []byte) (path string, argv []string) {
	const longest, chunk = 20 << 10, 4096
	number := func() int {
		if len(recipe) == 0 {
			return 0
		}
		n := recipe[0]
		recipe = recipe[1:]
		return int(n)
	}
	ban := func() string { return s.m.Set.Bans[(number()<<8+number())%len(s.m.Set.Bans)].Text }
	var text, piece []byte
	var texts []string
	for len(recipe) > 0 && len(text) < longest {
		switch number() % 9 {
		case 0: // bytes of the recipe
			n := min(number()%32, len(recipe))
			piece = slices.Clone(recipe[:n])
			recipe = recipe[n:]
		case 1: // a prefix of a ban
			b := ban()
			piece = []byte(b[:1+number()%len(b)])
		case 2: // a ban
			piece = []byte(ban())
		case 3: // the same again
			n := 1 << (number() % 13)
			piece = slices.Repeat(piece, min(n, longest/(len(piece)+1)))
		case 4: // up to the end of a chunk, or nearly
			b, n := "x /a"[number()%4], number()%64
			size := (len(text)/chunk+1)*chunk - n
			piece = slices.Repeat([]byte{b}, max(size-len(text), 0))
		case 5: // the next text
			texts = append(texts, string(text))
			text, piece = nil, nil
		case 6: // text that an allow pattern matches
			piece = []byte(" ok")
			if n := len(s.m.Set.Allowed); n > 0 {
				expr := s.m.Set.Allowed[number()%n].Expr
				piece = []byte(strings.NewReplacer("(?s)", "", ".*", "").Replace(expr))
			}
		case 7: // nearly UTF-8
			piece = []byte("\xff\xe2\x84\xaa\xc3\xa9\xf0\x9f"[number()%8:])
		case 8: // boundaries of words and names
			piece = []byte{" /_-\nA.0"[number()%8]}
		}
		text = append(text, piece...)
	}
	texts = append(texts, string(text))
	for i, text := range texts {
		texts[i] = strings.ReplaceAll(text, "\x00", "")
	}
	return texts[0], texts[1:]
}
