package rules_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/strict"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// builtin returns the matcher of the built-in rules.
func builtin(t testing.TB) *match.Matcher {
	t.Helper()
	m, err := match.Compile(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// verdict evaluates a command line whose program is executed by the path argv[0].
func verdict(m *match.Matcher, argv []string) match.Verdict {
	return m.Judge([]byte(argv[0]), match.Area(argv))
}

// A legitimate is a kind of command line of testdata/legitimate.yaml.
type legitimate struct {
	kind, source string
	commands     []string
}

func readLegitimate(t *testing.T) []legitimate {
	t.Helper()
	var all []legitimate
	err := strict.Read("testdata/legitimate.yaml", func(root strict.Value) {
		root.List(func(_ int, v strict.Value) {
			var l legitimate
			v.Map(map[string]func(strict.Value){
				"kind":   func(v strict.Value) { v.Text(&l.kind) },
				"source": func(v strict.Value) { v.Text(&l.source) },
				"commands": func(v strict.Value) {
					v.List(func(_ int, v strict.Value) {
						var command string
						v.Text(&command)
						l.commands = append(l.commands, command)
					})
				},
			})
			all = append(all, l)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheBuiltInRulesKillNothingLegitimate(t *testing.T) {
	m := builtin(t)
	for _, l := range readLegitimate(t) {
		t.Run(l.kind, func(t *testing.T) {
			if l.kind == "" || l.source == "" || len(l.commands) == 0 {
				t.Fatalf("without its kind, its source or commands: %+v", l)
			}
			for _, command := range l.commands {
				spares(t, m, split(command))
			}
		})
	}
}

// spares reports an error if a command is killed or, for a shell with a text, one of the
// commands in it.
func spares(t *testing.T, m *match.Matcher, argv []string) {
	t.Helper()
	for _, argv := range append(children(argv), argv) {
		if v := verdict(m, argv); v.Outcome == match.Banned {
			t.Errorf("%q: killed by %v, %q", argv, v.Ban.Origin, v.Ban.Text)
		}
	}
}

// split returns the arguments of a command: the words, but all behind the -c of a shell as
// one.
func split(command string) []string {
	argv := strings.Split(command, " ")
	for i, arg := range argv {
		if i > 0 && strings.HasSuffix(argv[0], "sh") && strings.HasPrefix(arg, "-") && strings.HasSuffix(arg, "c") {
			return append(argv[:i+1:i+1], strings.Join(argv[i+1:], " "))
		}
	}
	return argv
}

func TestTheBuiltInRulesSpareGeneratedCommands(t *testing.T) {
	m, g := builtin(t), newGrammar(2)
	for range testutil.Thorough(50_000) {
		argv := g.honest()
		spares(t, m, argv)
		spares(t, m, []string{"/bin/sh", "-c", strings.Join(argv, " ")})
	}
}

func TestTheBuiltInRulesKillMiners(t *testing.T) {
	m := builtin(t)
	for _, k := range minerKinds() {
		t.Run(k.name, func(t *testing.T) {
			for _, argv := range k.commands {
				if !killed(m, argv) {
					t.Errorf("runs: %q", argv)
				}
			}
		})
	}
}

// Expressions are not searched in these places, only the names of programs are.
func TestTheBuiltInRulesKnowReleasesByTheirFileAndFirstArgument(t *testing.T) {
	m := builtin(t)
	judge := func(path, file, argv0 string) match.Outcome {
		return m.JudgeCommand(match.Command{Path: []byte(path), Name: []byte(file), Area: match.Area([]string{argv0, "-c", "a"})}).Outcome
	}
	for name, want := range map[string]match.Outcome{
		"xmrig-notls": match.Banned, "xmrig-5.11.1": match.Banned, "xmrig-6.22.2": match.Banned, "xmrig-v6.22": match.Banned,
		"cpuminer-avx2": match.Banned, "cpuminer-sse42-aes": match.Banned, "cpuminer-aes-sse42": match.Banned,
		"cpuminer-zen4": match.Banned, "ccminer-8.21": match.Banned,
		"xmrig-hunt.sh": match.NoMatch, "xmrig-hunt": match.NoMatch, "cpuminer-check": match.NoMatch, "xmrig-exporter": match.NoMatch, "cpuminer-finder.sh": match.NoMatch, "ccminer_scan.py": match.NoMatch,
	} {
		for place, got := range map[string]match.Outcome{
			"the file behind a link":   judge("/tmp/worker", name, "worker"),
			"the file of a descriptor": judge("/dev/fd/5", name, "worker"),
			"argv[0]":                  judge("/tmp/worker", "", name),
			"argv[0] with a path":      judge("/tmp/worker", "", "/tmp/"+name),
			"a directory with a space": judge("/tmp/a b/"+name, "", "worker"),
			"a path without a slash":   judge(name, "", "worker"),
			"a name in upper case":     judge("/tmp/"+strings.ToUpper(name), "", "worker"),
		} {
			if got != want {
				t.Errorf("%s as %s: got %v, want %v", name, place, got, want)
			}
		}
	}
}

func TestTheBuiltInRulesKillGeneratedMiners(t *testing.T) {
	m, g := builtin(t), newGrammar(1)
	for range testutil.Thorough(30_000) {
		for _, argv := range [][]string{g.miner(), g.scripted()} {
			if !killed(m, argv) {
				t.Errorf("runs: %q", argv)
			}
		}
	}
}

func TestTheGroupForEnvironmentsKnowsImagesOfMiners(t *testing.T) {
	actions := rules.DefaultActions()
	actions.SwitchAll(false)
	if err := actions.Switch("environment", "true"); err != nil {
		t.Fatal(err)
	}
	m, err := match.Compile(actions.Rules())
	if err != nil {
		t.Fatal(err)
	}
	w := wallets()
	for env, want := range map[string]match.Outcome{
		"PATH=/bin DONATE_LEVEL=1 POOL_URL=pool.example.org:3333":                      match.Observed,
		"WALLET=" + w["monero"] + " DONATE=0":                                          match.Observed,
		"POOL_URL=stratum+tcp://203.0.113.7:3333 POOL_USER=" + w["monero"]:             match.Observed,
		"WALLET_ADDRESS=" + w["raptoreum, verus"] + " POOL=eu.example.net:443 HOME=/a": match.Observed,
		"WALLET=" + w["monero"]:                                                        match.NoMatch,
		"WALLET=/opt/oracle/wallet POOL_URL=db.example.org:5432":                       match.NoMatch,
		"POOL_URL=postgres://me:x@db.example.org:5432/a POOL_USER=me":                  match.NoMatch,
		"DATABASE_POOL_URL=db:5432 MY_WALLET=" + w["monero"]:                           match.NoMatch,
		"DONATE_LEVEL=1 HOME=/a":                                                       match.NoMatch,
	} {
		v := m.JudgeCommand(match.Command{Path: []byte("/bin/a"), Area: match.Area([]string{"a"}), Env: match.Area(strings.Fields(env))})
		if v.Outcome != want {
			t.Errorf("%s: got %v, want %v", env, v.Outcome, want)
		}
	}
}

// killed reports whether a command is killed or, for a shell with a text, one of the
// commands in it.
func killed(m *match.Matcher, argv []string) bool {
	return verdict(m, argv).Outcome == match.Banned || slices.ContainsFunc(children(argv), func(child []string) bool {
		return verdict(m, child).Outcome == match.Banned
	})
}

// children returns the commands in the text of a shell's -c, in a simple reading.
func children(argv []string) (all [][]string) {
	if len(argv) < 3 || !strings.HasSuffix(argv[0], "sh") || !strings.HasPrefix(argv[1], "-") || !strings.HasSuffix(argv[1], "c") {
		return nil
	}
	separators := strings.NewReplacer("&&", "\n", "||", "\n", ";", "\n", "|", "\n", "&", "\n")
	for command := range strings.Lines(separators.Replace(argv[2])) {
		child := strings.Fields(command)
		for len(child) > 1 && slices.Contains([]string{"nohup", "exec", "setsid", "do"}, child[0]) {
			child = child[1:]
		}
		if len(child) > 0 {
			all = append(all, child)
		}
	}
	return all
}
