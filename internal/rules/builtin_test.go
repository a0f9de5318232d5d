package rules

import (
	"bytes"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

func TestTheProgramHasTheBuiltInFiles(t *testing.T) {
	want, err := scrambled.Pack(os.DirFS("."), "builtin/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(builtinFiles, want) {
		t.Error("builtin.bin is not what builtin/*.yaml give: run go generate ./internal/rules")
	}
}

// allBans returns the bans of all built-in files, also of those that are off by default.
func allBans() (all []Ban) {
	for _, g := range Groups() {
		all = append(all, g.rules.Bans...)
	}
	return all
}

func TestEachBuiltInFileHasItsAction(t *testing.T) {
	actions := make(map[string]Action)
	for _, ban := range allBans() {
		actions[ban.Origin.File] = ban.Action
	}
	want := map[string]Action{
		"builtin/algorithms.yaml": Kill, "builtin/base64.yaml": Kill, "builtin/environment.yaml": Observe, "builtin/flags.yaml": Kill,
		"builtin/malware.yaml": Kill, "builtin/miners.yaml": Kill, "builtin/poolports.yaml": Kill, "builtin/pools.yaml": Observe,
		"builtin/selftest.yaml": Kill, "builtin/stratum.yaml": Kill, "builtin/wallets.yaml": Kill,
	}
	if !maps.Equal(actions, want) {
		t.Errorf("got  %v\nwant %v", actions, want)
	}
}

// An administrator who is root on the node, and shells whose commands are judged themselves,
// are spared by all but the files against intruders and hidden commands.
func TestEachBuiltInFileSparesWhomItCan(t *testing.T) {
	for _, ban := range allBans() {
		want := Shells | NodeRoot
		switch ban.Origin.File {
		case "builtin/base64.yaml", "builtin/selftest.yaml":
			want = 0
		case "builtin/malware.yaml":
			want = Shells
		}
		if ban.Spares != want {
			t.Errorf("%v spares %b, want %b", ban.Origin, ban.Spares, want)
		}
	}
}

func TestEachBuiltInFileExplainsItsAction(t *testing.T) {
	for _, ban := range allBans() {
		if ban.Origin.Index > 0 {
			continue
		}
		text := builtin()[ban.Origin.File]
		first, why := "# Kills. ", "# Why it kills: "
		if ban.Action == Observe {
			first, why = "# Observes. ", "# Why it only observes: "
		}
		if !strings.HasPrefix(text, first) {
			t.Errorf("%s does not begin with %q", ban.Origin.File, first)
		}
		for _, part := range []string{why, "# Source", "# False positives: "} {
			if !strings.Contains(text, "\n"+part) {
				t.Errorf("%s has no line with %q", ban.Origin.File, part)
			}
		}
	}
}

func TestNoBuiltInBanIsGivenTwice(t *testing.T) {
	seen := make(map[string]Origin)
	for _, ban := range allBans() {
		text := strings.ToLower(ban.Text)
		if first, again := seen[text]; again {
			t.Errorf("%v duplicates %v", ban.Origin, first)
		}
		seen[text] = ban.Origin
	}
}

// Strings are cheaper than an expression to observe, and the expressions that kill need a
// part.
func TestThePartOfPoolsHasThoseThatAreObserved(t *testing.T) {
	var exprs []string
	for _, ban := range Builtin().Bans {
		if ban.Origin.File == "builtin/pools.yaml" {
			exprs = append(exprs, "(?:"+regexp.QuoteMeta(ban.Text)+")")
		}
	}
	if want := "(?:" + strings.Join(exprs, "|") + ")"; builtinParts()["pool"] != want {
		t.Errorf("the part is\n%s\nwant, as in builtin/pools.yaml,\n%s", builtinParts()["pool"], want)
	}
}

func TestNoBuiltInBanMatchesLegitimatePrograms(t *testing.T) {
	legitimate := []string{
		// Names that miners share with legitimate programs.
		"claymore", "t-rex", "deamon", "bioset", "native_svc", "irqbalance", "acpid", "polkitd", "haveged",
		"monero", "xmr", "randomx", "cryptonight", "rigel", "miner", "p2pool", "monerod",
		// Domains that legitimate programs use as well.
		"nicehash.com", "btc.com", "f2pool.com", "xmrig.com", "mooo.com", "pastebin.com", "p2pool.io",
		// Options and ports.
		"-k", "--tls", "--threads", "--opencl", "--cpu-priority", "8888", "8080", "3333",
		"--rig-id", "--nicehash", "--coin", "--coin=monero", "--miner-address", "--algo", "-a", "stratum", "zmp://",
		// Names similar to those of malware.
		"systemctl", "kthreadd", "kworker", "systemd", "crond", "nginx", "httpd", "apache2",
	}
	for _, ban := range Builtin().Bans {
		for _, text := range legitimate {
			matches := strings.Contains(text, strings.ToLower(ban.Text))
			if ban.Kind == Program {
				begin, open := strings.CutSuffix(strings.ToLower(ban.Text), "*")
				matches = text == begin || open && strings.HasPrefix(text, begin)
			}
			if matches {
				t.Errorf("%v matches %q", ban.Origin, text)
			}
		}
	}
}

func TestTheSelfTestAllowsOnlyItsOwnCommands(t *testing.T) {
	for subject, allowed := range map[string]bool{
		"/bin/echo allowed cryptnono.BANNED.string1":                                     true,
		"/usr/bin/bash -c echo allowed cryptnono.BANNED.string1":                         true,
		"/usr/bin/echo allowed cryptnono.banned.string1":                                 true,
		"/bin/sh -c sleep 1 && /bin/echo allowed cryptnono.BANNED.string1":               true,
		"/usr/bin/python3.11 -c print('allowed cryptnono.banned.string1')":               true,
		"/bin/echo cryptnono.BANNED.string1":                                             false,
		"/bin/echo disallowed cryptnono.BANNED.string1":                                  false,
		"/bin/echo allowed cryptnono.BANNED.string1 --donate-level 1":                    false,
		"/tmp/a --donate-level allowed cryptnono.BANNED.string1":                         false,
		"/bin/sh -c /tmp/a --donate-level 1; /bin/echo allowed cryptnono.BANNED.string1": false,
		"/bin/sh -c sleep 1 && a;/bin/echo allowed cryptnono.BANNED.string1":             false,
		"/usr/bin/python3 -c print('allowed cryptnono.banned.string1'),print(open())":    false,
	} {
		got := false
		for _, pattern := range Builtin().Allowed {
			got = got || regexp.MustCompile(`(?i)^(?:`+pattern.Expr+`)$`).MatchString(subject)
		}
		if got != allowed {
			t.Errorf("%s: allowed %t, want %t", subject, got, allowed)
		}
	}
}
