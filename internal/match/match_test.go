package match

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match/matchtest"
	"github.com/cryptnono/cryptnono/internal/match/naive"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// ruleSet makes a set from lines: see matchtest.Rules.
func ruleSet(lines ...string) rules.Set { return matchtest.Rules(lines...) }

func compile(t testing.TB, set rules.Set) *Matcher {
	t.Helper()
	m, err := Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestJudge(t *testing.T) {
	set := ruleSet("word cryptnono.banned.string1", "substring stratum+tcp://", "program xmrig",
		"word --donate-level", "word -o pool", "?word trial.example", "word ünïcode",
		`allow .*allowed\s+cryptnono\.banned\.string1`, `allow /usr/bin/grep .*`)
	m := compile(t, set)
	tests := []struct {
		name string
		path string
		argv []string
		want Outcome
	}{
		{"a banned word", "/bin/echo", []string{"echo", "cryptnono.BANNED.string1"}, Banned},
		{"a banned word after another one", "/bin/echo", []string{"echo", "a", "cryptnono.BANNED.string1", "b"}, Banned},
		{"an allowed line", "/bin/echo", []string{"echo", "allowed", "cryptnono.BANNED.string1"}, Allowed},
		{"an allowed line with more behind it", "/bin/echo", []string{"echo", "allowed", "cryptnono.BANNED.string1", "x"}, Banned},
		{"argv[0] does not help an allow pattern", "/tmp/x", []string{"/usr/bin/grep x allowed", "xmrig", "cryptnono.banned.string1"}, Banned},
		{"the word inside a larger one", "/bin/echo", []string{"echo", "xcryptnono.BANNED.string1"}, NoMatch},
		{"the word before a word character", "/bin/echo", []string{"echo", "cryptnono.BANNED.string1_"}, NoMatch},
		{"after a match inside a larger word", "/bin/echo", []string{"echo", "xcryptnono.banned.string1", "cryptnono.banned.string1"}, Banned},
		{"between punctuation", "/bin/echo", []string{"echo", ".cryptnono.banned.string1-"}, Banned},
		{"in argv[0]", "/bin/sleep", []string{"cryptnono.banned.string1", "1"}, Banned},
		{"in the program path", "/tmp/cryptnono.banned.string1/a", []string{"a"}, Banned},
		{"a substring directly after an option", "./x", []string{"x", "-oSTRATUM+tcp://pool.example:3333"}, Banned},
		{"a substring inside a word", "./x", []string{"x", "astratum+tcp://b"}, Banned},
		{"a flag with its value", "./x", []string{"x", "--donate-level=1"}, Banned},
		{"a flag behind a word", "./x", []string{"x", "x--donate-level"}, Banned},
		{"a longer flag", "./x", []string{"x", "--donate-levels"}, NoMatch},
		{"a ban across arguments", "./x", []string{"x", "-o", "pool"}, Banned},
		{"a ban does not match across argv[0] and the arguments", "./x", []string{"-o", "pool"}, NoMatch},
		{"a program by its path", "/opt/XMRig", []string{"a"}, Banned},
		{"a program with arguments", "/opt/xmrig", []string{"a", "b"}, Banned},
		{"a program by argv[0]", "/tmp/a", []string{"./xmrig"}, Banned},
		{"a program by a bare argv[0]", "/tmp/a", []string{"xmrig", "-h"}, Banned},
		{"a program without any argument", "xmrig", nil, Banned},
		{"a program's name as an argument", "/usr/bin/which", []string{"which", "xmrig", "/opt/xmrig"}, NoMatch},
		{"a program's name as a directory", "/opt/xmrig/bin/a", []string{"a"}, NoMatch},
		{"a longer program name", "/opt/xmrig2", []string{"my-xmrig"}, NoMatch},
		{"an allowed command", "/usr/bin/grep", []string{"grep", "stratum+tcp://", "x"}, Allowed},
		{"an observing rule", "./x", []string{"x", "trial.example"}, Observed},
		{"an observing rule before one that kills", "./x", []string{"x", "trial.example", "--donate-level"}, Banned},
		{"the case of non-ASCII letters is not folded", "./x", []string{"x", "ünïcode"}, Banned},
		{"other case of a non-ASCII letter", "./x", []string{"x", "ÜnÏcode"}, NoMatch},
		{"invalid UTF-8 beside a ban", "./x", []string{"x", "\xff--donate-level\xc0"}, Banned},
		{"a newline beside a ban", "./x", []string{"x", "\n--donate-level\n"}, Banned},
		{"no arguments", "/bin/true", []string{"true"}, NoMatch},
		{"empty arguments", "/bin/true", []string{"", "", ""}, NoMatch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := reference(set, tt.path, tt.argv); got != tt.want {
				t.Errorf("the reference says %v, want %v", got, tt.want)
			}
			if got := m.Judge([]byte(tt.path), Area(tt.argv)); got.Outcome != tt.want {
				t.Errorf("got %v, want %v", got.Outcome, tt.want)
			}
		})
	}
}

func TestTheVerdictNamesTheRules(t *testing.T) {
	set := ruleSet("?word aaa", "word bbb", "word ccc", "allow .*never", "allow .*x")
	v := compile(t, set).Judge([]byte("p"), Area([]string{"p", "aaa", "bbb", "x"}))
	if v.Outcome != Allowed || v.Ban != &set.Bans[1] || v.Allow != &set.Allowed[1] {
		t.Errorf("got %+v", v)
	}
}

func TestWithoutBansNothingMatches(t *testing.T) {
	if v := compile(t, ruleSet("allow .*")).Judge([]byte("p"), Area([]string{"p", "x"})); v != (Verdict{}) {
		t.Errorf("got %+v", v)
	}
}

func TestOfEqualBansTheFirstThatKillsIsNamed(t *testing.T) {
	set := ruleSet("word abc", "?word abd", "word ABC", "word abd")
	m := compile(t, set)
	for line, want := range map[string]*rules.Ban{"abc": &set.Bans[0], "abd": &set.Bans[3]} {
		if v := m.Judge([]byte("p"), Area([]string{"p", line})); v.Ban != want {
			t.Errorf("%s: got %+v", line, v.Ban)
		}
	}
}

func TestASubstringInsideAWordThatDoesNotMatch(t *testing.T) {
	// All three have an output in the state of "xbcd".
	m := compile(t, ruleSet("word xbcd", "?substring bcd", "substring cd"))
	if v := m.Judge([]byte("p"), Area([]string{"p", "xbcdx"})); v.Outcome != Banned || v.Ban.Text != "cd" {
		t.Errorf("got %+v", v)
	}
}

// Bans of high symbols only once left so many cells unused that 20,000 did not fit.
func TestAnAutomatonHasFewFreeCells(t *testing.T) {
	for name, alphabet := range map[string]string{
		"small letters": "abcdefghijklmnopqrstuvwxyz", "two of them": "yz", "digits": "0123456789",
		"of all kinds": "abcdefghijklmnopqrstuvwxyz0123456789.-/", "other scripts": "漢字仮名交文日本語",
	} {
		rnd := rand.New(rand.NewPCG(5, 6))
		letters := []rune(alphabet)
		var set rules.Set
		var list []keyword
		for range 3000 {
			text := make([]rune, 20)
			for i := range text {
				text[i] = letters[rnd.IntN(len(letters))]
			}
			b := rules.Ban{Text: string(text)}
			set.Bans = append(set.Bans, b)
			list = append(list, keyword{text: keywordTexts(b)[0]})
		}
		cells, states := len(compile(t, set).Cells), countStates(unique(list))
		if cells > states+states/50+3*symbolCount {
			t.Errorf("%s: %d cells for %d states", name, cells, states)
		}
	}
}

// 4,000 bans of 4,096 bytes took more memory than the memory limit in the chart.
func TestBansThatTakeTooMuchMemoryAreRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the largest automaton")
	}
	var set rules.Set
	rnd := rand.New(rand.NewPCG(3, 4))
	for i := range 1400 {
		text := make([]byte, 3990)
		if i == 700 {
			text = make([]byte, 4000)
		}
		for j := range text {
			text[j] = byte('a' + rnd.IntN(26))
		}
		set.Bans = append(set.Bans, rules.Ban{
			Text: string(text), Origin: rules.Origin{File: "site.yaml", Line: i + 1, Key: "bannedCommandStrings", Index: i},
		})
	}
	_, err := Compile(set)
	begin, end := "site.yaml:701: bannedCommandStrings[700]: 1400 bans need more than 5242880 states, and \"", ", of 4000 bytes: use fewer or shorter ones"
	if err == nil || !strings.HasPrefix(err.Error(), begin) || !strings.HasSuffix(err.Error(), end) || len(err.Error()) > 500 {
		t.Errorf("got %.600v", err)
	}
	set.Bans = set.Bans[:1300]
	compile(t, set)
}

// FuzzJudge compares with the reference. Each line of ruleText is a rule; the first line of
// command is the path, each other one an argument.
func FuzzJudge(f *testing.F) {
	f.Add("word a\nsubstring b.\nprogram c\nallow .*d", "/c\nx\nab.d")
	f.Add("?word -a\nword a-a\nword a-", "p\na-a\n-a")
	f.Add("program a\nprogram -\nword _", "a/a\n/a\n_")
	f.Add("substring aab\nsubstring ab\nword aaab", "p\naaaab aab")
	f.Add("word a\nallow .*a\\Q\nallow .*b\\Qc", "/b\na")
	f.Add("word é\nsubstring \u00bf\nallow .*\\bé.*", "p\n\xc3\xa9 \xbf\xff")
	f.Fuzz(func(t *testing.T, ruleText, command string) {
		set, path, argv := fuzzInput(ruleText, command)
		m, err := Compile(set)
		if err != nil {
			t.Skip() // the regular expression is bad
		}
		got, want := m.Judge([]byte(path), Area(argv)), reference(set, path, argv)
		if got.Outcome != want {
			t.Errorf("got %v, the reference says %v for %q %q", got.Outcome, want, path, argv)
		}
		if got.Ban != nil && !naive.Bans(*got.Ban, path, argv) {
			t.Errorf("%q does not match %q %q", got.Ban.Text, path, argv)
		}
	})
}

func fuzzInput(ruleText, command string) (set rules.Set, path string, argv []string) {
	for l := range strings.SplitSeq(strings.ToValidUTF8(strings.ReplaceAll(ruleText, "\x00", ""), ""), "\n") {
		// Rule files are rejected if the name of a program contains a slash.
		if kind, text, _ := strings.Cut(l, " "); text != "" && len(text) < 64 && (!strings.HasSuffix(kind, "program") || !strings.Contains(text, "/")) {
			s := ruleSet(l)
			set.Bans = append(set.Bans, s.Bans...)
			set.Allowed = append(set.Allowed, s.Allowed...)
		}
	}
	words := strings.Split(strings.ReplaceAll(command, "\x00", ""), "\n")
	return set, words[0], words[1:]
}

// reference returns the outcome of package naive for a path and arguments.
func reference(set rules.Set, path string, argv []string) Outcome {
	return referenceOf(set, naive.Command{Path: path, Argv: argv})
}

func referenceOf(set rules.Set, c naive.Command) Outcome {
	switch action, spared := naive.Judge(set, c); {
	case action == "":
		return NoMatch
	case spared:
		return Allowed
	case action == rules.Observe:
		return Observed
	}
	return Banned
}

// TestRandomRules compares with the reference on texts of a few letters, where bans overlap
// and contain each other.
func TestRandomRules(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	letters := []string{"a", "A", "b", "-", "/", " ", "_", "0", "é"}
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(letters[rnd.IntN(len(letters))])
		}
		return b.String()
	}
	outcomes := map[Outcome]int{}
	for range testutil.Thorough(20_000) {
		var lines []string
		for range 1 + rnd.IntN(5) {
			kind := []string{"word ", "substring ", "program ", "?word ", "?substring "}[rnd.IntN(5)]
			ban := text(1 + rnd.IntN(4))
			if kind == "program " {
				ban = strings.ReplaceAll(ban, "/", "a")
			}
			lines = append(lines, kind+ban)
		}
		if rnd.IntN(2) == 0 {
			lines = append(lines, "allow .*"+text(1)+".*")
		}
		set := ruleSet(lines...)
		path, argv := text(1+rnd.IntN(6)), []string{text(rnd.IntN(5)), text(rnd.IntN(12)), text(rnd.IntN(4))}[:rnd.IntN(4)]
		got, want := compile(t, set).Judge([]byte(path), Area(argv)).Outcome, reference(set, path, argv)
		if got != want {
			t.Fatalf("got %v, the reference says %v for rules %q and %q %q", got, want, lines, path, argv)
		}
		outcomes[want]++
	}
	for o := NoMatch; o <= Banned; o++ {
		if outcomes[o] < testutil.Thorough(100) {
			t.Errorf("only %d cases had outcome %v", outcomes[o], o)
		}
	}
}
