package attacks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// settingsRows are settings and rules with unintended effects, hostile files, and exemptions that an
// attacker may try to use.
func settingsRows(_ *testing.T, b *bed) []row {
	const refusedOrWarned = "refused, or a warning names it, or banned programs are still killed"
	return []row{
		{"B03", "exemptions.cgroups: [/system.slice/*], and a container of Docker with systemd", refusedOrWarned, func(t *testing.T) (string, bool) {
			return broadExemption(t, "/system.slice/*", "/system.slice/docker-"+strings.Repeat("a", 64)+".scope")
		}},
		{"B03b", "exemptions.cgroups: [/user.slice/*], and a user's session", refusedOrWarned, func(t *testing.T) (string, bool) {
			return broadExemption(t, "/user.slice/*", "/user.slice/user-1000.slice/session-3.scope")
		}},
		{"B03c", "the examples of docs and chart", "none of them exempts containers", func(t *testing.T) (string, bool) {
			var bad []string
			for _, file := range []string{"docs/configuration.md", "charts/cryptnono/values.yaml", "charts/cryptnono/README.md", "packaging/etc/config.yaml"} {
				text, err := os.ReadFile("../../" + file)
				if err != nil {
					t.Fatal(err)
				}
				for line := range strings.Lines(string(text)) {
					if strings.Contains(line, "[/system.slice/*]") || strings.Contains(line, "- /system.slice/*") || strings.Contains(line, "`/system.slice/*`") {
						bad = append(bad, file)
					}
				}
			}
			return fmt.Sprintf("it is in %q", bad), len(bad) == 0
		}},
		{"B09", "su -c by an ordinary user, whose arguments have the word", "dead before its first instruction, with the real user in the log", func(t *testing.T) (string, bool) {
			word := agenttest.NewWord()
			a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}})
			cmd := asNobody(exec.Command("/bin/su", "-c", word))
			fate, dead := dies(cmd)
			l := a.Verdict(t, "killed", cmd.Process.Pid)
			return fmt.Sprintf("%s, uid %d", fate, l.UID), dead && l.UID == nobody
		}},
		{"B10", "legitimate command lines with words of miners, against the built-in rules", "live", func(t *testing.T) (string, bool) {
			return honestLines(t)
		}},
		{"t24", "rule files that are not regular files, or that are too large", "refused or read, in seconds and with bounded memory", func(t *testing.T) (string, bool) {
			return hostileFiles(t, b)
		}},
		{"t24b", "a rule file that is a link to /proc/kmsg", "refused, in seconds", func(t *testing.T) (string, bool) {
			link := filepath.Join(t.TempDir(), "rules.yaml")
			if err := os.Symlink("/proc/kmsg", link); err != nil {
				t.Fatal(err)
			}
			return readInTime(t, link, true)
		}},
		{"t24c", "a rule file with 9 MB of a list in braces", "refused or read, within the chart's memory", func(t *testing.T) (string, bool) {
			return readInTime(t, writeFile(t, "bannedCommandStrings: ["+strings.Repeat("a,", 4_500_000)+"a]\n"), false)
		}},
		{"t24d", "bans of one and two bytes", "refused, or a warning names file and line", func(t *testing.T) (string, bool) {
			return vitalBan(t, "bannedCommandSubstrings: [\"\\u0001\", \"\\u0002\\u0003\"]\naction: observe\n")
		}},
		{"t24e", "a ban of a program that every node runs", "refused, or a warning names file and line", func(t *testing.T) (string, bool) {
			return vitalBan(t, "bannedPrograms: [containerd-shim-runc-v2]\naction: observe\n")
		}},
		{"S1", "an exemption that a reload removes", "dead before its first instruction", func(t *testing.T) (string, bool) {
			return revoked(t, b)
		}},
		{"S7", "an agent in another time namespace", "refused at start in one sentence, or finds and kills a program that is older", func(t *testing.T) (string, bool) {
			return otherTime(t, b)
		}},
		{"S14", "a path that begins with that of an exempt program, of 255 bytes", "dead before its first instruction", func(t *testing.T) (string, bool) {
			return longExempt(t, b)
		}},
	}
}

// broadExemption starts an agent with a pattern that exempts more than it may seem to.
func broadExemption(t *testing.T, pattern, cgroup string) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	cmd := agenttest.InCgroup(t, cgroup, exec.Command("/bin/echo", word))
	a := agenttest.Launch(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"exemptions": map[string]any{"cgroups": []string{pattern}}},
	})
	if a.Over() {
		return fmt.Sprintf("the agent ends: %.200s", a.Errors()), strings.Contains(a.Errors(), pattern)
	}
	warned := len(a.Lines(func(l agenttest.Line) bool { return l.Level == "WARN" && strings.Contains(l.Raw, pattern) })) > 0
	fate, dead := dies(cmd)
	return fmt.Sprintf("warned: %v, a banned program there %s", warned, fate), warned || dead
}

// honestLines checks command lines of administrators and users with `cryptnono check`.
func honestLines(t *testing.T) (seen string, ok bool) {
	t.Helper()
	var killed []string
	lines := []string{
		"/usr/bin/git clone https://github.com/xmrig/xmrig.git",
		"/usr/bin/apt-get install xmrig",
		"/usr/bin/dpkg --configure xmrig",
		"/usr/bin/conmon --cid x -n k8s_x_job-xmr.nanopool.org_default_1",
		"/usr/bin/vim pools.txt",
		"/usr/bin/yara xmrig.yar /srv",
		"/usr/bin/systemd-run --unit=xmrig /bin/true",
		"/usr/bin/less /usr/share/doc/xmrig/README.md",
		"/usr/bin/pip install monero",
		"/usr/bin/runc --root /run/containerd/runc/k8s.io --log /run/log.json create --bundle /run/bundle x",
	}
	for _, line := range lines {
		cmd := exec.Command(agenttest.Program(t), append([]string{"check", "--"}, strings.Fields(line)...)...)
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 0 {
			killed = append(killed, line)
		}
	}
	return fmt.Sprintf("%d/%d live; killed: %q", len(lines)-len(killed), len(lines), killed), len(killed) == 0
}

// writeFile writes a rule file to a temporary folder of the test.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// peak returns the maximum resident memory of a program that has ended, in MiB. The kernel's
// number includes what this process had when it started the program, so that a program which
// took less shows as 0.
func peak(t *testing.T, cmd *exec.Cmd) int64 {
	t.Helper()
	var own syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &own); err != nil {
		t.Fatal(err)
	}
	its := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if its <= own.Maxrss {
		return 0
	}
	return its >> 10
}

// readInTime makes the program read rules. It must end within 20 s and within the chart's memory
// limit.
func readInTime(t *testing.T, rules string, refuse bool) (seen string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, agenttest.Program(t), "check", "--builtin-rules=false", "--rules", rules, "--", "/bin/true")
	began := time.Now()
	out, _ := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return "hangs", false
	}
	memory := peak(t, cmd)
	status := cmd.ProcessState.ExitCode()
	return fmt.Sprintf("status %d after %.1f s, %d MiB: %.80s", status, time.Since(began).Seconds(), memory, strings.TrimSpace(string(out))),
		memory < 512 && (status == 2 || !refuse && status == 0)
}

// hostileFiles are files that must be refused or, where refuse is false, read in time.
func hostileFiles(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	dir := b.folder(t)
	special := func(name string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	full := filepath.Join(dir, "many")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range times(2000, 20_000) {
		if err := os.WriteFile(fmt.Sprintf("%s/%d.yaml", full, i), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	patterns := "bannedCommandStrings: [some-word]\nallowedCommandPatterns:\n"
	for i := range times(50, 200) {
		patterns += fmt.Sprintf("- '.*%c.{20}b%d'\n", 'a'+i%26, i)
	}
	files := []struct {
		name, file string
		refuse     bool
	}{
		{"a fifo", special("fifo", unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)), true},
		{"a fifo of addresses", special("fifo.addresses", unix.Mkfifo(filepath.Join(dir, "fifo.addresses"), 0o600)), true},
		{"a loop of links", special("loop", os.Symlink("loop", filepath.Join(dir, "loop"))), true},
		{"/dev/zero", special("zero", os.Symlink("/dev/zero", filepath.Join(dir, "zero"))), true},
		{"a YAML bomb", writeFile(t, "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nbannedCommandStrings: [*b,*b,*b]\n"), true},
		{"100,000 levels of lists", writeFile(t, strings.Repeat("[", 100_000)), true},
		{"100,000 levels of maps", writeFile(t, strings.Repeat("{", 100_000)), true},
		{"1 MB of dashes", writeFile(t, strings.Repeat("- ", 500_000)), true},
		{"1 MB of question marks", writeFile(t, strings.Repeat("? ", 500_000)), true},
		{"a blank ban", writeFile(t, "bannedCommandStrings: [' ']\n"), true},
		{"a regular expression of many repetitions", writeFile(t, "allowedCommandPatterns: ['((a{100}){100}){100}']\n"), true},
		{"a regular expression that doubles", writeFile(t, "allowedCommandPatterns: ['(((((x{10}){10}){10}){10}){10})']\n"), true},
		{"many files", full, false},
		{"many patterns that are too large for the kernel", writeFile(t, patterns), false},
	}
	held := 0
	for _, f := range files {
		if s, ok := readInTime(t, f.file, f.refuse); ok {
			held++
		} else {
			seen += "; " + f.name + ": " + s
		}
	}
	return fmt.Sprintf("%d/%d%s", held, len(files), seen), held == len(files)
}

// vitalBan starts an agent that only observes, with a ban that would break a node.
func vitalBan(t *testing.T, rules string) (seen string, ok bool) {
	t.Helper()
	file := writeFile(t, rules)
	a := agenttest.Launch(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}}, Flags: []string{"--rules", file, "--action", "observe"},
	})
	if a.Over() {
		return fmt.Sprintf("the agent ends: %.200s", a.Errors()), strings.Contains(a.Errors(), file+":1")
	}
	warned := len(a.Lines(func(l agenttest.Line) bool { return l.Level != "INFO" && strings.Contains(l.Raw, file+":1") })) > 0
	return fmt.Sprintf("warned or refused: %v", warned), warned
}

// revoked removes the exemption of a cgroup.
func revoked(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	dir, err := os.Open(agenttest.MakeCgroup(t, "/attacks-exempt"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	start := func() *exec.Cmd {
		cmd := exec.Command(b.victim(t, "hello", "-static"), word)
		cmd.SysProcAttr = intoCgroup(dir)
		return cmd
	}
	settings := map[string]any{"exemptions": map[string]any{"cgroups": []string{"/attacks-exempt"}}}
	a := agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{Strings: []string{word}}, Settings: settings})
	if !agenttest.Within(soon(), func() bool { _, ok := lives(start()); return ok }) {
		return "the exemption does not hold", false
	}
	a.Set(t, map[string]any{"exemptions": map[string]any{}})
	a.Reload(t)
	return dies(start())
}

// longExempt executes a program whose path begins with that of an exempt program.
func longExempt(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	hello := b.victim(t, "hello", "-static")
	dir := b.folder(t)
	exempt := dir + "/" + strings.Repeat("d", 255-len(dir)-1)
	exempt = agenttest.CopyFile(t, hello, exempt)
	agenttest.Start(t, agenttest.Options{
		Rules:    agenttest.Rules{Strings: []string{word}},
		Settings: map[string]any{"exemptions": map[string]any{"programs": []string{exempt}}},
	})
	if fate, ok := lives(exec.Command(exempt, word)); !ok {
		return "the exempt program " + fate, false
	}
	return dies(exec.Command(agenttest.CopyFile(t, hello, exempt+"2"), word))
}

// otherTime starts an agent in a time namespace with other clock offsets.
func otherTime(t *testing.T, b *bed) (seen string, ok bool) {
	t.Helper()
	word := agenttest.NewWord()
	var c crowd
	c.start(t, b.act(t, "stay", word))
	a := agenttest.Launch(t, agenttest.Options{
		Rules: agenttest.Rules{Strings: []string{word}}, Settings: map[string]any{"scanInterval": "1s"},
		Wrap: []string{"unshare", "-T", "--monotonic", "100000", "--boottime", "100000", "--fork", "--kill-child"},
	})
	if a.Over() {
		return fmt.Sprintf("refused: %.200s", a.Errors()), strings.Contains(a.Errors(), "time namespace")
	}
	return c.die(false)
}
