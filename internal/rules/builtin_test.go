package rules

import (
	"regexp"
	"strings"
	"testing"
)

func TestEachBuiltInFileHasBans(t *testing.T) {
	counts := make(map[string]int)
	for _, ban := range Builtin().Bans {
		counts[ban.Origin.File]++
		if ban.Action != Kill {
			t.Errorf("%v: action %s", ban.Origin, ban.Action)
		}
	}
	for _, file := range []string{"base64", "flags", "malware", "miners", "pools", "selftest", "stratum"} {
		if counts["builtin/"+file+".yaml"] == 0 {
			t.Errorf("%s: no bans", file)
		}
	}
}

func TestNoBuiltInBanIsGivenTwice(t *testing.T) {
	seen := make(map[string]Origin)
	for _, ban := range Builtin().Bans {
		text := strings.ToLower(ban.Text)
		if first, again := seen[text]; again {
			t.Errorf("%v duplicates %v", ban.Origin, first)
		}
		seen[text] = ban.Origin
	}
}

func TestNoBuiltInBanMatchesLegitimatePrograms(t *testing.T) {
	legitimate := []string{
		// Names that miners share with legitimate programs.
		"claymore", "t-rex", "deamon", "bioset", "native_svc", "irqbalance", "acpid", "polkitd", "haveged",
		"monero", "xmr", "randomx", "cryptonight",
		// Domains that legitimate programs use as well.
		"nicehash.com", "btc.com", "f2pool.com", "xmrig.com", "mooo.com", "pastebin.com",
		// Options and ports.
		"-k", "--tls", "--threads", "--opencl", "--cpu-priority", "8888", "8080",
		// Names similar to those of malware.
		"systemctl", "kthreadd", "kworker", "systemd", "crond", "nginx", "httpd", "apache2",
	}
	for _, ban := range Builtin().Bans {
		for _, text := range legitimate {
			matches := strings.Contains(text, strings.ToLower(ban.Text))
			if ban.Kind == Program {
				matches = strings.EqualFold(text, ban.Text)
			}
			if matches {
				t.Errorf("%v matches %q", ban.Origin, text)
			}
		}
	}
}

func TestTheSelfTestAllowsOnlyItsOwnCommands(t *testing.T) {
	for subject, allowed := range map[string]bool{
		"/bin/echo allowed cryptnono.BANNED.string1":                                  true,
		"/usr/bin/bash -c echo allowed cryptnono.BANNED.string1":                      true,
		"/usr/bin/echo allowed cryptnono.banned.string1":                              true,
		"/bin/sh -c sleep 1 && /bin/echo allowed cryptnono.BANNED.string1":            true,
		"/usr/bin/python3.11 -c print('allowed cryptnono.banned.string1')":            true,
		"/bin/echo cryptnono.BANNED.string1":                                          false,
		"/bin/echo disallowed cryptnono.BANNED.string1":                               false,
		"/bin/echo allowed cryptnono.BANNED.string1 --rig-id 1":                       false,
		"/tmp/a --rig-id allowed cryptnono.BANNED.string1":                            false,
		"/bin/sh -c /tmp/a --rig-id 1; /bin/echo allowed cryptnono.BANNED.string1":    false,
		"/bin/sh -c sleep 1 && a;/bin/echo allowed cryptnono.BANNED.string1":          false,
		"/usr/bin/python3 -c print('allowed cryptnono.banned.string1'),print(open())": false,
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
