package sanity

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// check checks the content of a settings file and of a rule file, without the built-in rules.
func check(t *testing.T, settings, ruleFile string) ([]Warning, error) {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c, err := config.Load(file("settings.yaml", settings), detectors.All())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load([]string{file("rules.yaml", ruleFile)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := match.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return Check(c, m)
}

const ok, warned, refused = "", "warned", "refused"

// outcome classifies the result of Check and returns its messages.
func outcome(warnings []Warning, err error) (class, lines string) {
	switch {
	case err != nil:
		return refused, err.Error()
	case len(warnings) == 0:
		return ok, ""
	}
	for _, w := range warnings {
		lines += w.String() + "\n"
	}
	return warned, lines
}

func TestTheBuiltInRulesAreSafe(t *testing.T) {
	m, err := match.Compile(rules.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	if got, lines := outcome(Check(config.Default(detectors.All()), m)); got != ok {
		t.Errorf("%s: %s", got, lines)
	}
}

func TestUnsafeRules(t *testing.T) {
	tests := []struct {
		name  string
		rules string
		want  string
		text  string // in the line, which is of rules.yaml:1
	}{
		{"ordinary bans", `bannedCommandStrings: [pool.example.org, exampleminer]`, ok, ""},
		{"a ban of one byte", `bannedCommandSubstrings: [a]`, refused, `"a" has 1 of at least 3 bytes`},
		{"a word of two bytes", `bannedCommandStrings: ["-o"]`, refused, `"-o" has 2 of at least 3 bytes`},
		{"a ban of spaces and one letter", `bannedCommandSubstrings: ["  x "]`, refused, "1 of at least 3 bytes"},
		{"a ban of one byte that only observes", `{"action": "observe", "bannedCommandSubstrings": ["a"]}`, refused, "1 of at least 3 bytes"},
		{"a ban of three bytes", `bannedCommandStrings: [xmr]`, warned, "only 3 bytes"},
		{"a ban of five bytes", `bannedCommandStrings: [xmrig]`, ok, ""},
		{"an open name of two letters", `bannedPrograms: ["xm*"]`, refused, `"xm*" has 2 of at least 3 bytes before the "*"`},
		{"an open name that a node has", `bannedPrograms: ["containerd*"]`, refused, "would kill"},
		{"an expression that a node has", `bannedCommandPatterns: ["containerd-shim.*-namespace"]`, refused, "would kill"},
		{"a combination", `bannedCommandCombinations: [["--algo=rx/", " -o"]]`, ok, ""},
		{"a program of two letters", `bannedPrograms: [xm]`, warned, "short name"},
		{"a program of four letters", `bannedPrograms: [mine]`, ok, ""},
		{"a ban of the kubelet", `bannedPrograms: [kubelet]`, refused, `"kubelet" would kill kubelet (/usr/bin/kubelet`},
		{"a ban of its options", `bannedCommandSubstrings: ["--kubeconfig"]`, refused, "would kill kubelet"},
		{"a ban in another case", `bannedPrograms: [KubeLet]`, refused, "would kill kubelet"},
		{"a ban of the shim", `bannedCommandSubstrings: ["k8s.io"]`, refused, "would kill"},
		{"a ban of runc", `bannedPrograms: [runc]`, refused, "would kill runc"},
		{"a ban of systemd", `bannedCommandStrings: [systemd]`, refused, "would kill"},
		{"a ban of sshd's titles", `bannedCommandSubstrings: ["root@pts"]`, refused, "would kill sshd"},
		{"a ban of shells", `bannedPrograms: [sh]`, refused, "would kill"},
		{"a ban of every URL", `bannedCommandSubstrings: ["://"]`, refused, "would kill"},
		{"a ban of the kubelet that only observes", `{"action": "observe", "bannedPrograms": ["kubelet"]}`, warned, `"kubelet" would report kubelet`},
		{"a ban of the kubelet with an allow pattern for it", `{"bannedPrograms": ["kubelet"], "allowedCommandPatterns": ["(/usr|/home/kubernetes)/bin/kubelet .*"]}`, ok, ""},
		{"the allow pattern in the documents", `allowedCommandPatterns: ['(/usr)?/bin/dnsmasq\s.*']`, ok, ""},
		{"an allow pattern for everything", `allowedCommandPatterns: ['.*']`, refused, `".*" allows every command line`},
		{"an allow pattern for every path", `allowedCommandPatterns: ['/.+']`, refused, "allows every command line"},
		{"an allow pattern for everything, written differently", `allowedCommandPatterns: ['(?s)[a-z]*.{2,}']`, refused, "allows every command line"},
		{"an allow pattern for a program in /tmp", `allowedCommandPatterns: ['/tmp/sim .*']`, warned, "allows a program in /tmp,"},
		{"an allow pattern for a program in any directory", `allowedCommandPatterns: ['.*/dnsmasq .*']`, warned, "also allows programs in /tmp"},
		{"an allow pattern for a program in many directories", `allowedCommandPatterns: ['/[a-z/]+/dnsmasq .*']`, warned, "also allows programs in /tmp"},
		{"an allow pattern for a word", `allowedCommandPatterns: ['.*nanopool.*']`, warned, "also allows programs in /tmp"},
		{"an allow pattern for a directory", `allowedCommandPatterns: ['/usr/.*']`, warned, `"/usr/.*" allows every program in /usr/bin`},
		{"an allow pattern for relative paths", `allowedCommandPatterns: ['grep .*']`, warned, "matches no program with a full path"},
		{"an allow pattern with a quote that nothing ends", `allowedCommandPatterns: ['/usr/bin/dnsmasq\s.*\Q.']`, ok, ""},
		{"a ban of a pool's addresses", `bannedAddresses: [203.0.113.0/24, 127.0.0.5]`, ok, ""},
		{"a ban of half of all addresses", `bannedAddresses: [128.0.0.0/1]`, warned, "128.0.0.0/1 bans a large part"},
		{"a ban of the network of pods", `bannedAddresses: ["10.244.0.0/16"]`, warned, "10.244.0.0/16 has addresses of 10.0.0.0/8"},
		{"a ban of local addresses", `bannedAddresses: ["[fe80::/64]:443"]`, warned, "fe80::/64 has addresses of fe80::/10"},
		{"a variable of every program", `{"environment": "kill", "bannedCommandStrings": ["PATH=/usr"]}`, refused, `"PATH=/usr" would kill`},
		{"a variable of every program that only observes", `{"environment": "observe", "bannedCommandSubstrings": ["HOME=/"]}`, warned, "for its environment"},
		{"a kill by the environment", `{"environment": "kill", "bannedCommandStrings": ["POOL_URL=stratum"]}`, warned, "inherits its variables"},
		{"an allow pattern for one of several paths", `allowedCommandPatterns: ['/usr/s?bin/(dnsmasq|named)( .*)?']`, ok, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, lines := outcome(check(t, "{}", tt.rules))
			if got != tt.want || !strings.Contains(lines, tt.text) || got != ok && !strings.Contains(lines, "rules.yaml:1: ") {
				t.Errorf("%s: %s\nwant %s: %s", got, lines, tt.want, tt.text)
			}
		})
	}
}

func TestUnsafeSettings(t *testing.T) {
	cgroups := func(pattern string) string { return "exemptions: {cgroups: ['" + pattern + "']}" }
	tests := []struct {
		name     string
		settings string
		want     string
		text     string // in the line, which is of settings.yaml:1
	}{
		{"the defaults", `{}`, ok, ""},
		{"a service by its name", cgroups("/system.slice/kubelet.service"), ok, ""},
		{"a runtime by its name", cgroups("/system.slice/containerd.service"), ok, ""},
		{"services of systemd by a pattern", cgroups("/system.slice/systemd-*.service"), ok, ""},
		{"all services", cgroups("/system.slice/*"), refused, "settings.yaml:1: exemptions.cgroups[0]: \"/system.slice/*\" exempts the containers of Docker, "},
		{"all services, by their suffix", cgroups("/system.slice/*.service"), refused, "and 4 more kinds"},
		{"the slice of all services", cgroups("/system.slice"), refused, "the containers of Docker"},
		{"all scopes", cgroups("/system.slice/*.scope"), refused, "the containers of Docker"},
		{"all cgroups", cgroups("/*"), refused, "the containers of pods, "},
		{"all cgroups, by a class of letters", cgroups("/[a-z]*"), refused, "the containers of pods"},
		{"all cgroups two levels deep", cgroups("/*/*"), refused, "the containers of pods"},
		{"services that begin with c", cgroups("/system.slice/c*"), refused, "cron"},
		{"the containers of Docker, on purpose", cgroups("/system.slice/docker-*.scope"), warned, "exempts the containers of Docker: their"},
		{"the sessions of users, on purpose", cgroups("/user.slice"), warned, "exempts the sessions of users"},
		{"the sessions of users, each", cgroups("/user.slice/*"), warned, "exempts the sessions of users"},
		{"the sessions of one user", cgroups("/user.slice/user-0.slice"), ok, ""},
		{"pods, on purpose", cgroups("/kubepods*"), warned, "exempts the containers of pods"},
		{"cron, on purpose", cgroups("/system.slice/cron.service"), warned, "cron"},
		{"JupyterHub, on purpose", cgroups("/system.slice/jupyterhub.service"), warned, "the users' servers of JupyterHub"},
		{"a pattern that matches nothing", cgroups("/system.slice/"), refused, "matches no cgroup"},
		{"a node that is a container", `{"containers": {"cgroupRoot": "/docker/a"}, "exemptions": {"cgroups": ["/docker/a/kubelet.slice/kubelet.service"]}}`, ok, ""},
		{"all of a node that is a container", `{"containers": {"cgroupRoot": "/docker/a"}, "exemptions": {"cgroups": ["/docker/a/*"]}}`, refused, "the containers of pods"},
		{"a program", "exemptions: {programs: [/usr/sbin/dnsmasq]}", ok, ""},
		{"a shell", "exemptions: {programs: [/bin/sh]}", warned, "/bin/sh can run any command"},
		{"an interpreter", "exemptions: {programs: [/usr/bin/python3.11]}", refused, "/usr/bin/python3.11 can run any program"},
		{"an emulator of programs", "exemptions: {programs: [/usr/bin/qemu-aarch64-static]}", refused, "can run any program"},
		{"an emulator of machines", "exemptions: {programs: [/usr/bin/qemu-system-x86_64]}", ok, ""},
		{"a program whose name only begins like an interpreter", "exemptions: {programs: [/usr/bin/node_exporter]}", ok, ""},
		{"the dynamic linker", "exemptions: {programs: [/lib64/ld-linux-x86-64.so.2]}", refused, "can run any program"},
		{"a program in /tmp", "exemptions: {programs: [/tmp/dnsmasq]}", warned, "where users can create files"},
		{"a program in a home directory", "exemptions: {programs: [/home/admin/tool]}", warned, "where users can create files"},
		{"a socket in /tmp", "containers: {sockets: [/tmp/docker.sock]}", warned, "where users can create files"},
		{"a label that the pods of users have", "exemptions: {podLabels: [app=jupyterhub]}", warned, "the users' servers of JupyterHub"},
		{"a label that every pod has", "exemptions: {podLabels: [pod-template-hash]}", warned, "every pod of a Deployment"},
		{"a label of one component", "exemptions: {podLabels: [component=proxy]}", ok, ""},
		{"a kill limit that one user can trip", "killLimit: {perMinute: 3}", warned, "killLimit.perMinute: a user who gets 3 of his processes"},
		{"a kill limit far above the usual", "killLimit: {perMinute: 60, perContainer: 3}", ok, ""},
		{"a variable with a secret", "logEnv: [JUPYTERHUB_API_TOKEN]", warned, "logEnv[0]: JUPYTERHUB_API_TOKEN may contain a secret, so the log has *** instead of its value"},
		{"a variable that may hold one", "logEnv: [AWS_CREDENTIALS]", warned, "logEnv[0]: AWS_CREDENTIALS may contain a secret, which all readers"},
		{"variables without secrets", "logEnv: [JUPYTERHUB_USER, BINDER_REF_URL, MONKEY]", ok, ""},
		{"a threshold far below the default", "monero: {thresholds: {minDirected: 0.1}}", warned, "monero.thresholds.minDirected: 0.1 is less than half"},
		{"a number of samples far below the default", "monero: {thresholds: {minSamples: 8}}", warned, "monero.thresholds.minSamples: 8 is less than half"},
		{"a number of pairs far below the default", "monero: {thresholds: {minPairs: 8}}", warned, "monero.thresholds.minPairs: 8 is less than half"},
		{"such a threshold where the detector kills nothing", `{"monero": {"action": "observe", "thresholds": {"minDirected": 0.1}}}`, ok, ""},
		{"such a threshold where nothing is killed", `{"action": "observe", "monero": {"thresholds": {"minDirected": 0.1}}}`, ok, ""},
		{"such a threshold of a detector that is off", `{"monero": {"enabled": false, "thresholds": {"minDirected": 0.1}}}`, ok, ""},
		{"no scans", "scanInterval: 0", warned, "0 disables scans"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, lines := outcome(check(t, tt.settings, "{}"))
			if got != tt.want || !strings.Contains(lines, tt.text) || got != ok && !strings.Contains(lines, "settings.yaml:1: ") {
				t.Errorf("%s: %s\nwant %s: %s", got, lines, tt.want, tt.text)
			}
		})
	}
}

func TestABanOfAnExemptNodeProgramIsAccepted(t *testing.T) {
	tests := []struct {
		name, settings, rules string
		ok                    bool
	}{
		{"a namespace", "exemptions: {namespaces: [kube-system]}", "bannedPrograms: [coredns]", true},
		{"another namespace", "exemptions: {namespaces: [monitoring]}", "bannedPrograms: [coredns]", false},
		{"a cgroup", "exemptions: {cgroups: [/system.slice/chrony.service]}", "bannedPrograms: [chronyd]", true},
		{"a program", "exemptions: {programs: [/usr/sbin/chronyd]}", "bannedPrograms: [chronyd]", true},
		{"a program of the host does not exempt one in a pod", "exemptions: {programs: [/coredns]}", "bannedPrograms: [coredns]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := check(t, tt.settings, tt.rules); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestManyProblemsAreCounted(t *testing.T) {
	list := strings.Repeat("  - xyz\n", 5000)
	warnings, err := check(t, "{}", "bannedCommandStrings:\n"+list)
	if err != nil || len(warnings) != maxListed+1 || warnings[maxListed].Text != "warnings not listed: 4980" {
		t.Errorf("got %d warnings and %v", len(warnings), err)
	}
	_, err = check(t, "{}", "bannedCommandStrings:\n"+strings.ReplaceAll(list, "xyz", "xy"))
	if err == nil || strings.Count(err.Error(), "\n") != maxListed || !strings.HasSuffix(err.Error(), "problems not listed: 4980") {
		t.Errorf("got %v", err)
	}
}

// A truncated command line in vital.yaml could not cause a warning.
func TestTheCommandLinesOfNodesAreWhole(t *testing.T) {
	for _, v := range vitals() {
		if v.name == "" || v.program == "" || v.command == "" || (v.cgroup == "") == (v.namespace == "") {
			t.Errorf("%+v", v)
		}
	}
}

func TestRulesForConnectionsNeedTheirDetector(t *testing.T) {
	const connections = "bannedAddresses: [192.0.2.1, 192.0.2.2]\nbannedNames: [pool.example]\n"
	const off = "tcpflowkiller: {enabled: false}"
	for _, c := range []struct{ name, settings, rules, want string }{
		{"on", "{}", connections, ""},
		{"off", off, connections, "rules.yaml:1: bannedAddresses[0]: banned addresses (2) have no effect: tcpflowkiller is off\n" +
			"rules.yaml:2: bannedNames[0]: banned names (1) have no effect: tcpflowkiller is off\n"},
		{"off, and no such rules", off, "bannedCommandStrings: [pool.example.org]", ""},
	} {
		class, lines := outcome(check(t, c.settings, c.rules))
		if class == refused || regexp.MustCompile(`(?m)^\S*/`).ReplaceAllString(lines, "") != c.want {
			t.Errorf("%s: %s %s", c.name, class, lines)
		}
	}
}
