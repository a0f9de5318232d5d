package match

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/rules"
)

// patterns returns allow patterns that sites use or may use.
func patterns() []string {
	return strings.Split(strings.TrimSpace(`
.*allowed\s+cryptnono\.banned\.string1
/usr/sbin/dnsmasq .*
(/usr)?/s?bin/dnsmasq( .*)?
/usr/bin/grep .*
/usr/bin/(e|f|z)?grep .*
/(usr/)?bin/(ba|da|z)?sh -c .*grep.*
.*(apt|apt-get|dpkg|rpm|dnf|yum|pacman)\s+install\s.*
/usr/bin/apt(-get)? (update|upgrade|install) .*
/usr/lib/apt/methods/https?
/usr/bin/dpkg .*
/usr/bin/git (clone|fetch|pull|log|show) .*
/usr/lib/git-core/git-remote-https? .*
/usr/bin/python3(\.\d+)? -m pip install .*
/opt/conda/bin/python\S* .*ipykernel_launcher.*
/opt/conda/bin/(conda|mamba) (install|search|update) .*
/srv/conda/envs/notebook/bin/jupyter-(lab|notebook|server).*
/usr/bin/curl (-\S+ )*https://(www\.)?example\.(org|com)/.*
/usr/bin/wget .*example\.org.*
/usr/bin/vim? /etc/.*
/usr/bin/(nano|vi|vim|emacs|less|more|cat|head|tail) .*
/usr/bin/journalctl .*
/usr/bin/tail -[fFn].*
/usr/bin/logger .*
/usr/sbin/iptables(-restore|-save)? .*
/usr/sbin/(x|ip6)tables\S* .*
/usr/bin/dig .*
/usr/bin/(host|nslookup|whois|ping|traceroute) \S+
/usr/sbin/tcpdump .*
/usr/bin/tshark .*
/usr/bin/rsync .*
/usr/bin/scp .*
/usr/bin/ssh( -\S+)* \S+@\S+.*
/usr/sbin/nginx .*
/usr/bin/certbot .*
/usr/bin/kubectl .*
/usr/bin/helm .*
/usr/bin/docker (build|pull|push|run) .*
/usr/bin/crane .*
/pause
/coredns -conf .*
/usr/local/bin/kube-proxy .*
/metrics-server .*
/bin/prometheus .*
/bin/promtool check .*
/bin/alertmanager .*
/usr/share/grafana/bin/grafana .*
/usr/bin/clamscan .*
/usr/bin/yara .*
/usr/bin/find .* -name .*
/usr/bin/xargs .*
/usr/bin/sed (-\w+ )*.*
/usr/bin/awk .*
/usr/bin/diff .*
/usr/bin/make( .*)?
/usr/lib/gcc/.*/cc1(plus)? .*
/usr/bin/(gcc|g\+\+|cc|c\+\+|ld|as)(-\d+)? .*
/home/[a-z_][a-z0-9_-]{0,31}/bin/report\.sh .*
/srv/jobs/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/run .*
/usr/bin/env ([A-Z_]+=\S* )*python3 /srv/scan\.py .*
.*--self-test --donate-level=0\b.*
.*\bsecurity-training\b.*
(?s)/usr/bin/mail .*
/usr/bin/perl -e .*
.*known-miners\.txt
`), "\n")
}

func TestPatternsOfSitesFitTogether(t *testing.T) {
	set := ruleSet("word needle")
	for _, expr := range patterns() {
		set.Allowed = append(set.Allowed, rules.Pattern{Expr: expr})
		compile(t, rules.Set{Bans: set.Bans, Allowed: set.Allowed[len(set.Allowed)-1:]})
	}
	m := compile(t, set)
	states := 0
	for _, d := range m.Allow {
		states += len(d.Accept)
	}
	t.Logf("%d patterns: %d DFAs, %d states", len(set.Allowed), len(m.Allow), states)
	for line, want := range map[string]string{
		"/usr/bin/tail -f needle":                           "tail -[fFn]",
		"/srv/run needle security-training x":               "training",
		"/bin/bash -c x | grep needle":                      "grep",
		"/opt/conda/bin/python3 -m ipykernel_launcher need": "",
	} {
		path, rest, _ := strings.Cut(line, " ")
		v := m.Judge([]byte(path), Area([]string{"x", rest}))
		if want == "" {
			if v.Outcome != NoMatch {
				t.Errorf("%s: %+v", line, v)
			}
			continue
		}
		if v.Outcome != Allowed {
			t.Errorf("%s: %+v, want one with %q", line, v, want)
		}
	}
}

func TestAPatternTooLargeForTheKernelIsRefused(t *testing.T) {
	origin := rules.Origin{File: "site.yaml", Line: 7, Key: rules.KeyAllowed, Index: 1}
	_, err := Compile(rules.Set{Allowed: []rules.Pattern{{Expr: `.* fine`}, {Expr: `.*a.{20}b`, Origin: origin}}})
	want := "site.yaml:7: allowedCommandPatterns[1]: the allow pattern \".*a.{20}b\" is too large for the kernel: " +
		"begin it with the path of a program instead of .*, and use fewer of .* and of repeats like {20}"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestPatternsTooLargeTogetherAreRefused(t *testing.T) {
	var set rules.Set
	for i := range 100 {
		word := fmt.Sprintf("%c%c", 'a'+i%26, 'a'+i/26)
		set.Allowed = append(set.Allowed, rules.Pattern{
			Expr:   `.*` + word + `.*` + word + `x.*`,
			Origin: rules.Origin{File: "site.yaml", Line: i + 1, Key: rules.KeyAllowed, Index: i},
		})
	}
	_, err := Compile(set)
	if err == nil || !strings.HasPrefix(err.Error(), "site.yaml:11: allowedCommandPatterns[10]: the allow patterns are too large for the kernel together") {
		t.Errorf("got %v", err)
	}
}
