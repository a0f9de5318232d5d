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

func TestJudgeCommand(t *testing.T) {
	const (
		monero = "4AbCdEfGhJkLmNpQrStUvWxYz123456789AbCdEfGhJkLmNpQrStUvWxYz123456789"
		wallet = `combination+sr \b4[1-9A-HJ-NP-Za-km-z]{60,70}\b & [ ](?:-u|--user)[ =]`
	)
	set := ruleSet("program+r xmrig-*", "?program nice*", wallet, "expression+s  --algo[ =](?:rx/|gr(?: |$))",
		"word+sk stratum+tcp://", "substring+o POOL_URL=", "word+r minexmr.com", "word malware.example", "allow /usr/bin/grep .*")
	root := func() bool { return true }
	tests := []struct {
		name    string
		command string // path, arguments from argv[0] on, by "|"
		env     string
		root    bool
		want    Outcome
	}{
		{"a name by its beginning", "/tmp/xmrig-6.22.2|x", "", false, Banned},
		{"only the beginning", "/tmp/xmrig-|x", "", false, Banned},
		{"in argv[0]", "/tmp/a|./xmrig-6|b", "", false, Banned},
		{"another name", "/tmp/xmrig|xmrig", "", false, NoMatch},
		{"a directory with the beginning", "/tmp/xmrig-6.22.2/a|./xmrig-6/b", "", false, NoMatch},
		{"an argument with the beginning", "/bin/tar|tar|/tmp/xmrig-6.tar", "", false, NoMatch},
		{"inside a name", "/tmp/my-xmrig-6|x", "", false, NoMatch},
		{"an open name that observes", "/tmp/nicer|x", "", false, Observed},
		{"a wallet and an option", "/tmp/a|a|-u|" + monero, "", false, Banned},
		{"in the other order, glued", "/tmp/a|a|" + monero + ".rig|--user=x", "", false, Banned},
		{"a wallet alone", "/tmp/a|a|--tip|" + monero, "", false, NoMatch},
		{"an option alone", "/tmp/a|a|-u|root", "", false, NoMatch},
		{"a wallet that is part of a longer word", "/tmp/a|a|-u|X" + monero, "", false, NoMatch},
		{"the option in argv[0]", "/tmp/a|a -u x|" + monero, "", false, NoMatch},
		{"an expression", "/tmp/a|a|--ALGO|RX/0", "", false, Banned},
		{"an expression at the end", "/tmp/a|a|--algo=gr", "", false, Banned},
		{"a longer word", "/tmp/a|a|--algo=grx", "", false, NoMatch},
		{"the text of a shell", "/bin/sh|sh|-c|./a -o stratum+tcp://b", "", false, Allowed},
		{"of a login shell with options", "/bin/a|-bash|-euo|pipefail|-lc|./a -o stratum+tcp://b|x", "", false, Allowed},
		{"an option between", "/bin/zsh|zsh|-c|-l|./a -o stratum+tcp://b", "", false, Allowed},
		{"a shell's other argument", "/bin/sh|sh|-c|./a b|stratum+tcp://b", "", false, Banned},
		{"a program that is named like a shell", "/tmp/sh|sh|-c|stratum+tcp://b", "", false, Banned},
		{"a script", "/bin/sh|sh|a|-c|./a -o stratum+tcp://b", "", false, Banned},
		{"no shell", "/bin/shell|shell|-c|./a -o stratum+tcp://b", "", false, Banned},
		{"a ban that does not spare shells, too", "/bin/sh|sh|-c|./a -o stratum+tcp://b; malware.example", "", false, Banned},
		{"a combination in a shell's text", "/bin/sh|sh|-c|./a -u " + monero, "", false, Allowed},
		{"half of it", "/bin/sh|sh|-c|./a -u b|" + monero, "", false, Allowed},
		{"a name and a shell's text", "/tmp/xmrig-1|sh|-c|./a stratum+tcp://b", "", false, Banned},
		{"the same of root", "/tmp/xmrig-1|sh|-c|./a stratum+tcp://b", "", true, Allowed},
		{"root on the node", "/tmp/xmrig-1|xmrig-1", "", true, Allowed},
		{"root, and a ban that applies to root", "/tmp/xmrig-1|xmrig-1|malware.example", "", true, Banned},
		{"root, and a ban that observes", "/tmp/nicer|xmrig-1", "", true, Observed},
		{"an allow pattern", "/usr/bin/grep|grep|minexmr.com", "", false, Allowed},
		{"a ban that kills in the environment", "/tmp/a|a", "A=b|P=stratum+tcp://b", false, Banned},
		{"one that observes there", "/tmp/a|a", "POOL_URL=b", false, Observed},
		{"the same in the command line", "/tmp/a|a|POOL_URL=b", "", false, Banned},
		{"a ban that is not for the environment", "/tmp/a|a", "A=malware.example", false, NoMatch},
		{"a program's name in the environment", "/tmp/a|a", "_=/tmp/xmrig-6", false, NoMatch},
	}
	m := compile(t, set)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := strings.Split(tt.command, "|")
			c := naive.Command{Path: args[0], Argv: args[1:], NodeRoot: tt.root}
			if tt.env != "" {
				c.Env = strings.Split(tt.env, "|")
			}
			if got := referenceOf(set, c); got != tt.want {
				t.Errorf("the reference says %v, want %v", got, tt.want)
			}
			command := Command{Path: []byte(c.Path), Area: Area(c.Argv), Env: Area(c.Env)}
			if tt.root {
				command.NodeRoot = root
			}
			if got := m.JudgeCommand(command); got.Outcome != tt.want {
				t.Errorf("got %v, want %v", got.Outcome, tt.want)
			} else if (got.Outcome == Allowed && got.Spared != rules.NodeRoot) != (got.AllowedBy() != "") {
				t.Errorf("%v is allowed by %q", got.Outcome, got.AllowedBy())
			}
		})
	}
}

func TestAnExpressionNeedsATrigger(t *testing.T) {
	for expr, want := range map[string]bool{
		"abcd": true, "abc": false, "abc|abcd": false, "abcde|wxyz": true, "a.*bcde.*f": true, "(?:ab){2}": true,
		"(?:abcd)*": false, "(?:abcd)?": false, "(?:abcd)+": true, "[ab]cd[ef]": true, "[a-z]{4}": false, `\babc\b`: false, `\babcd`: true, `-\babc`: true, `ab\b cd`: true, "abc$": true,
		"[0-9a-f]{31}": true, "[0-9a-f]{30}": false, "-x[a-z]{15,20}[0-9]{15}": true, "[a-z]{15} [a-z]{16}": false, "[a-z-]{40}": false,
		`\xe4\xe4\xe4\xe4`: false,
	} {
		set := ruleSet("expression " + expr)
		set.Bans[0].Origin = rules.Origin{File: "site.yaml", Line: 3, Key: "bannedCommandPatterns"}
		_, err := Compile(set)
		if want != (err == nil) {
			t.Errorf("%q: %v", expr, err)
		}
		if err != nil && !strings.HasPrefix(err.Error(), "site.yaml:3: bannedCommandPatterns[0]: ") {
			t.Errorf("%q: %v", expr, err)
		}
	}
}

func TestTooManyExpressionsAreRefused(t *testing.T) {
	set := ruleSet("expression abcdefg")
	for len(set.Bans) < MaxCombinations {
		set.Bans = append(set.Bans, set.Bans[0])
	}
	compile(t, set)
	set.Bans = append(set.Bans, set.Bans[0])
	if _, err := Compile(set); err == nil {
		t.Error("accepted")
	}
	if _, err := Compile(ruleSet("expression abcd.*e.{20}f")); err == nil {
		t.Error("accepted an expression of a million states")
	}
}

func TestTheMatchedTextIsThatOfTheCommandLine(t *testing.T) {
	set := ruleSet(`combination  --algo[ =]rx/\d & --pool \S+`, "word stratum")
	var e Expressions
	for line, want := range map[string]string{
		"x\x00--pool\x00b\xe4:1\x00--ALGO=rx/0\x00-k\x00": "--ALGO=rx/0 + --pool b\xe4:1",
		"x\x00--pool b\x00--algo\x00rx/0":                 "--algo rx/0 + --pool b",
		"x\x00--pool\x00b":                                set.Bans[0].Text,
	} {
		if got := e.Matched(&set.Bans[0], []byte("/x"), []byte(line)); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	if got := e.Matched(&set.Bans[1], []byte("/x"), nil); got != "stratum" {
		t.Errorf("got %q", got)
	}
}

// TestRandomCombinations compares with the reference on commands made of the parts of rules.
func TestRandomCombinations(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	outcomes := map[Outcome]int{}
	for range testutil.Thorough(60) {
		m := compile(t, matchtest.Combinations(rnd))
		for range 1000 {
			c := matchtest.Command(rnd)
			command := Command{Path: []byte(c.Path), Area: Area(c.Argv), Env: Area(c.Env), NodeRoot: func() bool { return c.NodeRoot }}
			got, want := m.JudgeCommand(command).Outcome, referenceOf(m.Set, c)
			if got != want {
				t.Fatalf("got %v, the reference says %v for rules %+v and %q %q %q", got, want, m.Set, c.Path, c.Argv, c.Env)
			}
			outcomes[want]++
		}
	}
	for o := NoMatch; o <= Banned; o++ {
		if outcomes[o] < testutil.Thorough(400) {
			t.Errorf("only %d cases had outcome %v", outcomes[o], o)
		}
	}
}
