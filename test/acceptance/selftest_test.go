package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// The commands of the README, and typical command lines of miners.
func TestTheBuiltInRulesStopMiners(t *testing.T) {
	testutil.Privileged(t)
	hello := testutil.BuildC(t, "test/victims/hello.c")
	anything := copyFile(t, hello, "anything")
	relative := in(filepath.Dir(anything), exec.Command("./anything", "-o", "stratum+tcp://pool.example:3333", "-u", "x"))
	began := time.Now()
	a := start(t, agenttest.Rules{}, "--builtin-rules=true")

	for _, c := range []struct {
		name    string
		cmd     *exec.Cmd
		matched string
		rules   string
	}{
		{"the self-test", exec.Command("/bin/echo", "cryptnono.BANNED.string1"), "cryptnono.BANNED.string1", "builtin/selftest.yaml"},
		{"a pool as an option", relative, "stratum+tcp://", "builtin/stratum.yaml"},
		{"a pool directly after its option", exec.Command(anything, "-ostratum+tcp://pool.example:3333"), "stratum+tcp://", "builtin/stratum.yaml"},
		{"an option that only miners have", exec.Command(anything, "--donate-level", "1"), "--donate-level", "builtin/flags.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dies(t, c.cmd)
			l := a.Verdict(t, "killed", c.cmd.Process.Pid)
			for key := range strings.FieldsSeq("time action detector source pid ppid uid program cmdline matched rule cgroup after_seconds") {
				if !strings.Contains(l.Raw, `"`+key+`":`) {
					t.Errorf("no key %s in %s", key, l.Raw)
				}
			}
			if l.Time.Before(began) || l.Time.After(time.Now()) || l.After <= 0 || l.After > time.Since(began).Seconds() {
				t.Errorf("time %v, after %v s", l.Time, l.After)
			}
			want := agenttest.Line{
				Time: l.Time, Level: "INFO", Msg: "killed a process", After: l.After, Raw: l.Raw,
				Action: "killed", Detector: "execwhacker", Source: "exec",
				PID: c.cmd.Process.Pid, PPID: os.Getpid(), UID: os.Getuid(), Cgroup: ownCgroup(t),
				Program: c.cmd.Path, Cmdline: strings.Join(c.cmd.Args, " "), Matched: c.matched, Rule: l.Rule,
			}
			if l != want {
				t.Errorf("got  %+v\nwant %+v", l, want)
			}
			if place := regexp.MustCompile(`^` + c.rules + `:[1-9]\d* banned\w+\[\d+\]$`); !place.MatchString(l.Rule) {
				t.Errorf("rule %q", l.Rule)
			}
		})
	}

	allowed := exec.Command("/bin/echo", "allowed", "cryptnono.BANNED.string1")
	lives(t, allowed, "allowed cryptnono.BANNED.string1\n")
	if l := a.Verdict(t, "spared", allowed.Process.Pid); !strings.HasPrefix(l.Allowed, "builtin/selftest.yaml:") {
		t.Errorf("spared by %q", l.Allowed)
	}
}

// ownCgroup returns the cgroup of this process and its children: that of v2 or, if that is the
// root, that of a v1 controller that container runtimes use.
func ownCgroup(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, controller := range []string{"", "pids", "memory"} {
		for line := range strings.Lines(string(text)) {
			f := strings.SplitN(strings.TrimSpace(line), ":", 3)
			if f[1] == controller && f[2] != "/" {
				return f[2]
			}
		}
	}
	return "/"
}
