//go:build !race

package execwhacker

import (
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/kernelbtf"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/matchtest"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// A kernelMatcher runs the matcher in the kernel on texts in the memory of the test, without an
// exec.
type kernelMatcher struct {
	objs struct {
		tableMaps
		JudgeTexts      *ebpf.Program  `ebpf:"judge_texts"`
		Judged          *ebpf.Variable `ebpf:"judged"`
		TextsOfNodeRoot *ebpf.Variable `ebpf:"texts_of_node_root"`
	}
}

func newKernelMatcher(t testing.TB, m *match.Matcher) *kernelMatcher {
	t.Helper()
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	tab := newTables(m)
	if err := tab.size(spec); err != nil {
		t.Fatal(err)
	}
	k := &kernelMatcher{}
	if err := spec.LoadAndAssign(&k.objs, &ebpf.CollectionOptions{Cache: kernelbtf.Cache}); err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(k.close)
	if err := tab.fill(&k.objs.tableMaps, nil); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kernelMatcher) close() {
	_ = k.objs.close()
	_ = k.objs.JudgeTexts.Close()
}

// judge returns the outcome and 1 + the index of the deciding ban and pattern.
func (k *kernelMatcher) judge(t testing.TB, c match.Command) (outcome verdict.Outcome, ban, pattern uint32) {
	t.Helper()
	text := slices.Concat(c.Path, []byte{0}, c.Area, c.Env, []byte{0})
	var pin runtime.Pinner
	pin.Pin(&text[0])
	defer pin.Unpin()
	at := uint64(uintptr(unsafe.Pointer(&text[0])))
	area := at + uint64(len(c.Path)) + 1
	env := area + uint64(len(c.Area))
	if err := k.objs.TextsOfNodeRoot.Set(c.NodeRoot != nil && c.NodeRoot()); err != nil {
		t.Fatal(err)
	}
	var ret uint32
	// The kernel may be migrating a page of the text. The program cannot read it then, because
	// it must not sleep.
	for range 3 {
		var err error
		ret, err = k.objs.JudgeTexts.Run(&ebpf.RunOptions{Context: [5]uint64{at, area, env, env, env + uint64(len(c.Env))}})
		if err != nil {
			t.Fatal(err)
		}
		if verdict.Outcome(ret) != verdict.OutcomeUndecided {
			break
		}
		for i := 0; i < len(text); i += os.Getpagesize() {
			text[i] += 0
		}
	}
	var judged struct{ Ban, Pattern uint32 }
	if err := k.objs.Judged.Get(&judged); err != nil {
		t.Fatal(err)
	}
	return verdict.Outcome(ret), judged.Ban, judged.Pattern
}

// same compares the verdict of the kernel program with that of package match, and returns its
// outcome.
func (k *kernelMatcher) same(t testing.TB, m *match.Matcher, path string, argv []string) match.Outcome {
	t.Helper()
	return k.sameCommand(t, m, match.Command{Path: []byte(path), Area: match.Area(argv)})
}

func (k *kernelMatcher) sameCommand(t testing.TB, m *match.Matcher, c match.Command) match.Outcome {
	t.Helper()
	want := m.JudgeCommand(c)
	outcome, ban, pattern := k.judge(t, c)
	var got match.Verdict
	if ban != 0 {
		got.Ban = &m.Set.Bans[ban&^match.InEnvironment-1]
		got.InEnvironment = ban&match.InEnvironment != 0
	}
	switch pattern {
	case 0:
	case byShell:
		got.Spared = rules.Shells
	case byNodeRoot:
		got.Spared = rules.NodeRoot
	default:
		got.Allow = &m.Set.Allowed[pattern-1]
	}
	got.Outcome = map[verdict.Outcome]match.Outcome{
		verdict.OutcomeNoMatch:  match.NoMatch,
		verdict.OutcomeAllowed:  match.Allowed,
		verdict.OutcomeExempt:   match.Allowed,
		verdict.OutcomeObserved: match.Observed,
		verdict.OutcomeBanned:   match.Banned,
	}[outcome]
	if outcome == verdict.OutcomeUndecided || got != want {
		t.Errorf("the kernel's verdict is %v %+v, that in Go %+v, for %.200q %.200q %.200q", outcome, got, want, c.Path, c.Area, c.Env)
	}
	return want.Outcome
}

func TestTheMatchersInTheKernelAndInGoAgree(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	rnd := rand.New(rand.NewPCG(3, 4))
	letters := []string{"a", "A", "b", "-", "/", " ", "_", "0", "9", "é", "\xff", "\n"}
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(letters[rnd.IntN(len(letters))])
		}
		return b.String()
	}
	ban := func() rules.Ban {
		b := rules.Ban{
			Kind:   []rules.Kind{rules.Word, rules.Substring, rules.Program}[rnd.IntN(3)],
			Action: []rules.Action{rules.Kill, rules.Observe}[rnd.IntN(2)],
			Text:   strings.ToValidUTF8(text(1+rnd.IntN(5)), "é"),
		}
		if b.Kind == rules.Program {
			b.Text = strings.ReplaceAll(b.Text, "/", "b")
		}
		return b
	}
	outcomes := make(map[match.Outcome]int)
	rounds := max(testutil.Rounds(t, 40), 8) // fewer sets do not have all outcomes
	for range rounds {
		var set rules.Set
		for range 1 + rnd.IntN(8) {
			set.Bans = append(set.Bans, ban())
		}
		for range rnd.IntN(3) {
			set.Allowed = append(set.Allowed, rules.Pattern{Expr: `(?s).*[` + text(1) + `] ?a.*`})
		}
		m, err := match.Compile(set)
		if err != nil {
			continue // the pattern became invalid
		}
		k := newKernelMatcher(t, m)
		for range 300 {
			argv := []string{text(rnd.IntN(8)), text(rnd.IntN(20)), text(rnd.IntN(9)), ""}[:rnd.IntN(5)]
			outcomes[k.same(t, m, text(1+rnd.IntN(9)), argv)]++
		}
		k.close()
	}
	for o := match.NoMatch; o <= match.Banned; o++ {
		if outcomes[o] < 2*rounds {
			t.Errorf("only %d cases had outcome %v", outcomes[o], o)
		}
	}
}

func TestTheKernelFindsCombinations(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	rnd := rand.New(rand.NewPCG(7, 9))
	outcomes := make(map[match.Outcome]int)
	rounds := testutil.Rounds(t, 60)
	for range rounds {
		m := mustCompile(t, matchtest.Combinations(rnd))
		k := newKernelMatcher(t, m)
		for range 500 {
			c := matchtest.Command(rnd)
			outcomes[k.sameCommand(t, m, match.Command{
				Path: []byte(c.Path), Area: match.Area(c.Argv), Env: match.Area(c.Env), NodeRoot: func() bool { return c.NodeRoot },
			})]++
		}
		if k.close(); t.Failed() {
			t.Fatalf("rules %+v", m.Set)
		}
	}
	for o := match.NoMatch; o <= match.Banned; o++ {
		if outcomes[o] < 2*rounds {
			t.Errorf("only %d cases had outcome %v", outcomes[o], o)
		}
	}
}

// TestTheKernelReadsLongCommandLines has a ban at the boundaries of the chunks that the kernel
// program reads.
func TestTheKernelReadsLongCommandLines(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	const chunk = 16384
	m := mustCompile(t, rules.Set{
		Bans:    []rules.Ban{{Text: "needle-in-hay", Action: rules.Kill}, {Kind: rules.Program, Text: "needle", Action: rules.Kill}},
		Allowed: []rules.Pattern{{Expr: `(?s).* fine`}},
	})
	k := newKernelMatcher(t, m)
	outcomes := make(map[match.Outcome]int)
	for _, size := range []int{1, chunk - 15, chunk - 14, chunk - 13, chunk - 2, chunk - 1, chunk, chunk + 1, 2*chunk - 7, 100_000, 6 << 20} {
		hay := strings.Repeat("x ", size/2+1)[:size]
		for _, argv := range [][]string{
			{"p", hay + "needle-in-hay"},
			{"p", hay, "needle-in-hay"},
			{"p", hay + "needle-in-hay", "fine"},
			{"p", hay + "needle-in-hayx"},
			{hay + "needle-in-hay", hay},
			{strings.Repeat("/", size) + "needle", "x"},
			{strings.Repeat("/", size) + "needlex", "x"},
		} {
			outcomes[k.same(t, m, "/bin/p", argv)]++
		}
	}
	// execveat puts "/dev/fd/N/" before a path that may have 4,095 bytes itself.
	long := "/dev/fd/1234567890/" + strings.Repeat("d/", 2044) + "needle"
	if o := k.same(t, m, long, []string{"p"}); o != match.Banned {
		t.Errorf("a program at the end of a path of %d bytes: %v", len(long), o)
	}
	for _, o := range []match.Outcome{match.NoMatch, match.Allowed, match.Banned} {
		if outcomes[o] == 0 {
			t.Errorf("no case had outcome %v", o)
		}
	}
}

func TestTheKernelHandlesManyAllowPatterns(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	set := rules.Set{Bans: []rules.Ban{{Text: "needle", Action: rules.Kill}}}
	for i := range 300 {
		word := strings.Repeat("o", 1+i%7) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		set.Allowed = append(set.Allowed, rules.Pattern{Expr: `.*` + word + `.*`})
	}
	for i := range 20 {
		word := string(rune('a'+i)) + "x"
		set.Allowed = append(set.Allowed, rules.Pattern{Expr: `.*` + word + `.*` + word + `y`})
	}
	m := mustCompile(t, set)
	k := newKernelMatcher(t, m)
	if len(m.Allow) < 2 {
		t.Fatalf("%d DFAs, the test needs several", len(m.Allow))
	}
	for line, want := range map[string]match.Outcome{
		"needle ooooobk uuuuu": match.Allowed,
		"needle cx cxy":        match.Allowed,
		"needle cx dxy":        match.Banned,
		"needle cx cxy ":       match.Banned,
		"needle":               match.Banned,
	} {
		if o := k.same(t, m, "/p", []string{"p", line}); o != want {
			t.Errorf("%s: %v", line, o)
		}
	}
}
