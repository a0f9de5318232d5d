package attacks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// executors is an allow pattern for the victims that execute others, because they have the banned
// words in their arguments too.
const executors = `(?s)\S*/(exec_thread|exec_leaderless|exec_guarded|exec_in|vfork_exec|clone_vm_exec|spawn_exec|execveat|execveat_memfd|fake_argv0|cgroups) .*`

// execRows are attempts to execute a banned command without a verdict of the kernel. One agent that
// never scans runs for all of them.
func execRows(t *testing.T, b *bed) []row {
	word, program := agenttest.NewWord(), agenttest.NewWord()
	pool := agenttest.NewWord() + ".example"
	stamp := b.victim(t, "act", "-static") + "-v2"
	agenttest.Start(t, agenttest.Options{Rules: agenttest.Rules{
		Strings:  []string{word, pool},
		Programs: []string{program},
		Allowed:  []string{executors, stamp + `x* /srv/ok.*`, b.victim(t, "act", "-static") + `x*-v2 /srv/ok.*`},
	}})

	hello := b.victim(t, "hello", "-static")
	// by returns a command of a victim that executes another.
	by := func(name string, args ...string) *exec.Cmd { return exec.Command(b.victim(t, name), args...) }
	banned := func(id, what string, cmds ...*exec.Cmd) row {
		return row{id, what, "dead before its first instruction", func(*testing.T) (string, bool) {
			if len(cmds) == 1 {
				return dies(cmds[0])
			}
			return all("dead before their first instruction", dies, cmds...)
		}}
	}
	limit := func(id, what string, cmd *exec.Cmd) row {
		return row{id, what, "lives: a documented limit", func(*testing.T) (string, bool) { return lives(cmd) }}
	}
	plain := func(args ...string) *exec.Cmd { return exec.Command(hello, args...) }
	script := agenttest.WriteProgram(t, filepath.Join(b.dir, "script"), "#!/bin/sh\necho ran\n")

	return slices.Concat([]row{
		banned("A10", "execve", plain(word)),
		banned("A11", "execveat of anonymous memory", by("execveat_memfd", hello, "hello", word)),
		banned("A12", "a descriptor through /proc/self/fd", throughDescriptor(t, hello, word)),
		banned("A13", "execveat of a descriptor, as fexecve does", by("execveat", hello, "", "hello", word)),
		banned("A14", "execveat of a path in a directory", by("execveat", filepath.Dir(hello), "hello", "hello", word)),
		banned("A15", "a child of vfork", by("vfork_exec", hello, word)),
		banned("A16", "a child that shares the memory of its running parent", by("clone_vm_exec", hello, word)),
		banned("A17", "posix_spawn", by("spawn_exec", hello, word)),
		banned("A18", "a thread other than the first", by("exec_thread", hello, word)),
		banned("A19", "a thread, when the first has ended", by("exec_leaderless", hello, word)),
		banned("A20", "a tracer that continues it at each stop and suppresses the signal", by("exec_guarded", "trace", hello, word)),
		banned("A21", "a process that stops and continues it continuously", by("exec_guarded", "stop", hello, word)),
		banned("A22", "init of a PID namespace that ignores all signals", by("exec_in", "pi", hello, word)),
		banned("A23", "a time namespace", by("exec_in", "t", hello, word)),
		banned("A24", "user, PID and mount namespace of an ordinary user", asNobody(by("exec_in", "upm", hello, word))),
	}, narrow(t, b, word, banned), []row{
		banned("A26", "the dynamic loader as the program", exec.Command(loader(t), b.victim(t, "hello"), word)),
		banned("A27", "busybox sh", exec.Command("busybox", "sh", "-c", "echo ran", word)),
		banned("A28", "the word in the first line of a script",
			exec.Command(agenttest.WriteProgram(t, filepath.Join(b.dir, "shebang"), "#!/bin/sh "+word+"\necho ran\n"))),
		banned("A29", "a script", exec.Command(script, word)),
		banned("A30", "a CPU emulator as the program", exec.Command(emulator(t), hello, word)),
		banned("A31", "1.2 MB of environment", withEnv(plain(word), 12, 100_000)),
		banned("A32", "after 1.4 MiB of other arguments", plain(append(many(14, 100<<10), word)...)),
		{"A33", "the word at each of 80 positions around the end of a chunk", "dead, 80/80", func(*testing.T) (string, bool) {
			var cmds []*exec.Cmd
			for i := range 80 {
				cmds = append(cmds, plain(strings.Repeat("x", 16384-len(word)-60+i)+" "+word+" end"))
			}
			return all("dead", dies, cmds...)
		}},
		banned("A34", "between invalid UTF-8", plain("\xff\xc3"+word+"\x80\xfe")),
		banned("A35", "other case", plain(strings.ToUpper(word))),
		banned("A36", "in argv[0]", by("fake_argv0", hello, word)),
		banned("A37", "a path of 4,000 bytes", exec.Command(longPath(t, b, hello, word))),
		banned("A38", "no arguments at all, by path",
			by("exec_empty_argv", agenttest.CopyFile(t, hello, filepath.Join(b.dir, "a38", program)))),
		banned("A39", "a banned program by a symbolic link of another name", linked(t, b, hello, program)),
		banned("A40", "a banned program by /proc/self/fd/N",
			throughDescriptor(t, agenttest.CopyFile(t, hello, filepath.Join(b.dir, "a40", program)))),
		limit("A40b", "a banned program by a hard link of another name", hardLinked(t, b, hello, program)),
		limit("A41", "the dynamic loader with a banned program's file", exec.Command(loader(t),
			agenttest.CopyFile(t, b.victim(t, "hello"), filepath.Join(b.dir, "a41", program)))),
		limit("A42", "the word split over two arguments", plain(word[:9], word[9:])),
		limit("A43", "a zero-width character in the word", plain(word[:9]+"\u200b"+word[9:])),
		limit("A44", "a letter that looks the same", plain(strings.Replace(word, "a", "\u0430", 1))),
		limit("A45", "a letter as a percent escape", plain("%61"+word[1:])),
		banned("A46", "quotes within the word, for a shell to remove",
			exec.Command("/bin/sh", "-c", `exec 2>/dev/null; `+hello+` `+word[:5]+`"`+word[5:9]+`"`+word[9:]+`; s=$?; exit $s`)),
		limit("A47", "a pool directly after an option, as in -oPOOL:443", plain("-o"+pool+":443")),
		limit("A48", "the word in the environment", withEnv(plain(), 1, 1, word)),
		limit("A49", "the word on the standard input of a shell", reading(exec.Command("/bin/sh"), "echo "+word+"\n")),
		banned("A56", "argv[0] of more than a chunk, which ends as an allowed command line",
			acting(by("fake_argv0", b.victim(t, "act", "-static"), word+" "+strings.Repeat("x", 20_000)+"-v2 /srv/ok "), "end")),
		{"A47b", "command lines with little of a miner, against the built-in rules", "live: a documented limit", func(t *testing.T) (string, bool) {
			return plainView(t, true, []string{"-o", "relay.example:443", "-u", "me"}, []string{"-c", "config.json"}, []string{"--coin", "monero"},
				[]string{"--coin=XMR", "--url=relay.example:443"}, []string{"-a", "rx/0"})
		}},
		{"A47c", "unobfuscated variants of a miner's options, pools and names, against the built-in rules", "killed", func(t *testing.T) (string, bool) {
			return plainView(t, false, []string{"-ominexmr.com:443"}, []string{"-o2miners.com:443"}, []string{"--cpu-max-threads-h=50"},
				[]string{"-a", "rx/0", "-o", "203.0.113.7:443"}, []string{"--coin=XMR", "--url=relay.example:3333"},
				[]string{"--coin=XMR", "--url=relay.example:443", "--user=me"})
		}},
	})
}

// narrow returns the row of a 32-bit program, if the machine can execute one.
func narrow(t *testing.T, b *bed, word string, banned func(string, string, ...*exec.Cmd) row) []row {
	t.Helper()
	if !has32Bit() {
		return nil
	}
	return []row{banned("A25", "a 32-bit program", exec.Command(b.victim(t, "hello", "-m32"), word))}
}

// plainView checks unobfuscated command lines with `cryptnono check`, which all run or all
// do not.
func plainView(t *testing.T, run bool, lines ...[]string) (seen string, ok bool) {
	runs := 0
	for _, args := range lines {
		if exec.Command(agenttest.Program(t), append([]string{"check", "--", "./x"}, args...)...).Run() == nil {
			runs++
		}
	}
	want := 0
	if run {
		want = len(lines)
	}
	return fmt.Sprintf("%d of %d would run", runs, len(lines)), runs == want
}

// many returns n arguments of a length in bytes.
func many(n, length int) []string {
	return slices.Repeat([]string{strings.Repeat("x", length)}, n)
}

// withEnv adds n environment variables of a length in bytes, and others, to a command.
func withEnv(cmd *exec.Cmd, n, length int, others ...string) *exec.Cmd {
	for i := range n {
		cmd.Env = append(cmd.Env, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", length)))
	}
	for i, text := range others {
		cmd.Env = append(cmd.Env, fmt.Sprintf("OTHER%d=%s", i, text))
	}
	return cmd
}

func reading(cmd *exec.Cmd, text string) *exec.Cmd {
	cmd.Stdin = strings.NewReader(text)
	return cmd
}

// throughDescriptor executes a file through /proc/self/fd.
func throughDescriptor(t *testing.T, file string, args ...string) *exec.Cmd {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cmd := exec.Command("/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{f}
	return cmd
}

// linked executes a copy with a name through a symbolic link with another name.
func linked(t *testing.T, b *bed, file, name string) *exec.Cmd {
	t.Helper()
	link := filepath.Join(b.folder(t), "honest")
	if err := os.Symlink(agenttest.CopyFile(t, file, filepath.Join(b.folder(t), name)), link); err != nil {
		t.Fatal(err)
	}
	return exec.Command(link)
}

// hardLinked executes a copy with a name through a hard link with another name.
func hardLinked(t *testing.T, b *bed, file, name string) *exec.Cmd {
	t.Helper()
	link := filepath.Join(b.folder(t), "honest")
	if err := os.Link(agenttest.CopyFile(t, file, filepath.Join(b.folder(t), name)), link); err != nil {
		t.Fatal(err)
	}
	return exec.Command(link)
}

// longPath returns a path of 4,000 bytes that ends in the word.
func longPath(t *testing.T, b *bed, file, word string) string {
	t.Helper()
	path := b.folder(t)
	for 4000-len(path)-len(word)-2 > 250 {
		path += "/" + strings.Repeat("d", 200)
	}
	path += "/" + strings.Repeat("d", 4000-len(path)-len(word)-2)
	return agenttest.CopyFile(t, file, path+"/"+word)
}

// loader returns the path of the dynamic loader.
func loader(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"} {
		if _, err := os.Stat(pattern); err == nil {
			return pattern
		}
	}
	t.Fatal("no dynamic loader")
	return ""
}
