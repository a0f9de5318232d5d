package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

// victims are the programs in test/victims that these tests execute.
type victims struct {
	hello, thread, vfork, spawn, execveat, memfd, fake, empty string
}

// executors is an allow pattern for the victims that execute others, because they have the banned
// words in their arguments too.
const executors = `(?s)\S*/(exec_thread|vfork_exec|spawn_exec|execveat|execveat_memfd|fake_argv0) .*`

func buildVictims(t *testing.T) victims {
	t.Helper()
	build := func(name string) string { return testutil.BuildC(t, "test/victims/"+name+".c") }
	return victims{
		hello:    build("hello"),
		thread:   build("exec_thread"),
		vfork:    build("vfork_exec"),
		spawn:    build("spawn_exec"),
		execveat: build("execveat"),
		memfd:    build("execveat_memfd"),
		fake:     build("fake_argv0"),
		empty:    build("exec_empty_argv"),
	}
}

// A way is a command that must be killed.
type way struct {
	name string
	cmd  *exec.Cmd
}

func TestEveryWayToExecuteIsJudged(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	v, word := buildVictims(t), agenttest.NewWord()
	ways := []way{
		{"execve", exec.Command(v.hello, word)},
		{"execve of a relative path", in("/", exec.Command("."+v.hello, word))},
		{"execveat of a path in a directory", exec.Command(v.execveat, filepath.Dir(v.hello), "hello", "hello", word)},
		{"execveat of a descriptor", exec.Command(v.execveat, v.hello, "", "hello", word)},
		{"execveat of anonymous memory", exec.Command(v.memfd, v.hello, "hello", word)},
		{"posix_spawn", exec.Command(v.spawn, v.hello, word)},
		{"a child of vfork", exec.Command(v.vfork, v.hello, word)},
		{"a thread other than the first", exec.Command(v.thread, v.hello, word)},
		{"a script", exec.Command(writeProgram(t, "script", "#!/bin/sh\necho ran\n"), word)},
		{"a script of a script", exec.Command(writeProgram(t, "script", "#!"+writeProgram(t, "script", "#!/bin/sh\necho ran\n")), word)},
		{"pid 1 of a container", inNamespaces(exec.Command(v.hello, word))},
		{"by a user who is not root", asNobody(exec.Command("/bin/echo", word))},
	}
	if runtime.GOARCH == "amd64" {
		hello := testutil.BuildC(t, "test/victims/hello.c", "-m32")
		fake := testutil.BuildC(t, "test/victims/fake_argv0.c", "-m32")
		ways = append(ways,
			way{"a 32-bit program", exec.Command(hello, word)},
			way{"a 64-bit program from a 32-bit one", exec.Command(fake, v.hello, v.hello, word)})
	}
	checkWays(t, ways, agenttest.Rules{Strings: []string{word}, Allowed: []string{executors}})
}

func TestNoCommandLineHidesAWord(t *testing.T) {
	testutil.Privileged(t)
	v, word := buildVictims(t), agenttest.NewWord()
	program, scheme, phrase := agenttest.NewWord(), agenttest.NewWord(), "--level "+agenttest.NewWord()
	agenttest.RaiseStackLimit(t)
	rules := agenttest.Rules{
		Strings:    []string{word, phrase},
		Substrings: []string{scheme + "://"},
		Programs:   []string{program},
		Allowed:    []string{executors, `/usr/bin/honest .*`},
	}
	checkWays(t, []way{
		{"among 1,000 arguments", exec.Command(v.hello, append(many(999, 1), word)...)},
		{"after 100 KiB of arguments", exec.Command(v.hello, append(many(100, 1023), word)...)},
		{"after 100 KiB in the same argument", exec.Command(v.hello, strings.Repeat("x", 100<<10)+" "+word)},
		{"after 1.9 MiB of arguments", exec.Command(v.hello, append(many(19, 100<<10), word)...)},
		{"after 5 MiB of arguments", exec.Command(v.hello, append(many(50, 100<<10), word)...)},
		{"after 60,000 empty arguments", exec.Command(v.hello, append(many(60_000, 0), word)...)},
		{"under the name of an allowed program", exec.Command(v.fake, v.hello, "/usr/bin/honest", word)},
		{"in argv[0]", exec.Command(v.fake, v.hello, word)},
		{"in the path", exec.Command(copyFile(t, v.hello, word+"/hello"))},
		{"in the path, without any arguments", exec.Command(v.empty, copyFile(t, v.hello, program))},
		{"between newlines", exec.Command(v.hello, "a\n"+word+"\nb")},
		{"between quotes", exec.Command(v.hello, `"`+word+`"`, "'")},
		{"between empty arguments", exec.Command(v.hello, "", word, "")},
		{"at the end of an argument", exec.Command(v.hello, "--pool="+word, "x")},
		{"at the start of an argument", exec.Command(v.hello, "x", word+"=x")},
		{"between invalid UTF-8", exec.Command(v.hello, "\xff\xc3"+word+"\x80\xfe")},
		{"after similar words", exec.Command(v.hello, "x"+word+" "+word+"x", "my"+word+":"+word)},
		{"in capitals", exec.Command(v.hello, strings.ToUpper(word))},
		{"across two arguments", exec.Command(v.hello, strings.Fields(phrase)...)},
		{"a substring directly after an option", exec.Command(v.hello, "-o"+scheme+"://pool.example")},
		{"a program by its path", exec.Command(copyFile(t, v.hello, program))},
		{"a program by argv[0]", exec.Command(v.fake, v.hello, "/opt/"+program, "-v")},
		{"a script by its path", exec.Command(writeProgram(t, program, "#!/bin/sh\necho ran\n"))},
	}, rules)
}

// checkWays runs commands under an agent with the given rules. Each must be killed without output,
// logged and counted.
func checkWays(t *testing.T, ways []way, rules agenttest.Rules) {
	t.Helper()
	texts := slices.Concat(rules.Strings, rules.Substrings, rules.Programs)
	// An agent suppresses the lines of more than 10 equal verdicts.
	for some := range slices.Chunk(ways, 10) {
		a := start(t, rules)
		for _, w := range some {
			t.Run(w.name, func(t *testing.T) {
				dies(t, w.cmd)
				pid := w.cmd.Process.Pid
				// Some commands execute the banned one in a child.
				l := a.Line(t, "killed", func(l agenttest.Line) bool { return l.Action == "killed" && (l.PID == pid || l.PPID == pid) })
				if l.Source != "exec" || !slices.Contains(texts, l.Matched) || !strings.HasPrefix(l.Rule, a.Rules+":1 banned") {
					t.Errorf("logged as %+v", l)
				}
			})
		}
		if n := a.Metrics(t)[`processes_killed_total{source="exec"}`]; n != float64(len(some)) {
			t.Errorf("%v killed, want %d", n, len(some))
		}
		a.Stop()
	}
}

// many returns n arguments of a length in bytes.
func many(n, length int) []string {
	return slices.Repeat([]string{strings.Repeat("x", length)}, n)
}

func in(dir string, cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = dir
	return cmd
}

func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

func inNamespaces(cmd *exec.Cmd) *exec.Cmd {
	root := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: root, GidMappings: root,
	}
	return cmd
}

// A ban of a program matches the name of the file, also through links and descriptors.
func TestABannedProgramIsKilledUnderEachName(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	name := agenttest.NewWord()
	program := copyFile(t, "/bin/echo", name)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	script := writeProgram(t, "script", "#!"+link+" -n\n")
	a := start(t, agenttest.Rules{Programs: []string{name}})
	dies(t, exec.Command(program))
	dies(t, exec.Command(link))
	open := exec.Command("/bin/sh", "-c", "exec 3<$PROGRAM && exec /proc/self/fd/3")
	open.Env = append(os.Environ(), "PROGRAM="+program)
	dies(t, open)
	long := exec.Command(link, strings.Repeat("x", 100_000))
	dies(t, long)
	// A script has its own name, not that of its interpreter.
	if out, err := exec.Command(script).Output(); err != nil {
		t.Errorf("%v, with output %q", err, out)
	}
	if l := a.Verdict(t, "killed", long.Process.Pid); l.Program != link || l.Matched != name {
		t.Errorf("%s", l.Raw)
	}
}
