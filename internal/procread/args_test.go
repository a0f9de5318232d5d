package procread

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// startTitled starts a program; set makes it set its title.
func startTitled(t *testing.T, cmd *exec.Cmd) (h *process.Handle, set func(title string)) {
	t.Helper()
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	testutil.Start(t, cmd)
	lines := bufio.NewReader(stdout)
	return handle(t, cmd.Process.Pid), func(title string) {
		t.Helper()
		if _, err := io.WriteString(stdin, title+"\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); line != "done\n" {
			t.Fatalf("output %q, %v", line, err)
		}
	}
}

func TestATitleIsNotTakenForArguments(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/set_title.c")
	r := newReader(t)
	for _, method := range []string{"postgres", "nginx", "sshd"} {
		for _, arguments := range [][]string{{}, {"-D", "/var/lib/data", "", "-p", "5432"}, slices.Repeat([]string{""}, 20)} {
			cmd := exec.Command(program, append([]string{method}, arguments...)...)
			cmd.Env = []string{"FIRST=variable", "SECOND=" + strings.Repeat("x", 100)}
			h, set := startTitled(t, cmd)
			// A user who chooses the length of a title chooses the number and position of the
			// remaining NULs.
			area := len(strings.Join(cmd.Args, "\x00")) + 1
			longest := area + 110
			for length := 0; length < longest; length += longest / testutil.Rounds(t, longest) {
				title := strings.Repeat("t", length)
				set(title)
				info, err := r.Read(t.Context(), h, "")
				if err != nil || !info.Rewritten {
					t.Fatalf("%s, arguments %q: a title of %d bytes is read as %q, %v", method, arguments, length, info.Args, err)
				}
			}
		}
	}
}

func TestARealProgramsTitleIsNotTakenForArguments(t *testing.T) {
	perl, err := exec.LookPath("perl")
	if err != nil {
		t.Skip("no perl")
	}
	r := newReader(t)
	h, set := startTitled(t, exec.Command(perl, "-e", `$| = 1; while (<STDIN>) { chomp; $0 = $_ if $_; print "done\n" }`, "a", "b"))
	for _, title := range []string{"", "short", strings.Repeat("t", 60), strings.Repeat("t", 1000), "short again"} {
		set(title)
		if info, err := r.Read(t.Context(), h, ""); err != nil || info.Rewritten != (title != "") {
			t.Errorf("the title %.20q is read as %+v, %v", title, info, err)
		}
	}
}

func TestTheArgumentsOfAnExecAreRecognised(t *testing.T) {
	program := testutil.BuildC(t, "test/victims/set_title.c")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!"+program+" none\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, cmd := range map[string]*exec.Cmd{
		"no arguments":                  exec.Command(program, "none"),
		"empty arguments":               exec.Command(program, "none", "", "a", "", ""),
		"many arguments":                exec.Command(program, append([]string{"none"}, slices.Repeat([]string{"", "a", "x", "words and words"}, 20_000)...)...),
		"a long argument":               exec.Command(program, "none", strings.Repeat("x", 120_000), "a"),
		"a script":                      exec.Command(script, "a"),
		"no environment":                {Path: program, Args: []string{"program", "none"}, Env: []string{}},
		"an empty name":                 {Path: program, Args: []string{"", "none"}},
		"a name like a hidden argument": {Path: program, Args: []string{"x", "none", "x", "", "x"}},
		"pointers in another order":     exec.Command(program, "permute", "-a", "b", "-c", "d"),
		"a hidden password":             exec.Command(program, "hide", "-p", "password"),
		"a static program with PIE":     exec.Command(testutil.BuildC(t, "test/victims/set_title.c", "-static-pie"), "none", "a"),
		"a static program":              exec.Command(testutil.BuildC(t, "test/victims/set_title.c", "-static"), "none", "a"),
	} {
		t.Run(name, func(t *testing.T) {
			h, set := startTitled(t, cmd)
			set("")
			info, err := newReader(t).Read(t.Context(), h, "")
			if err != nil || info.Rewritten || info.Truncated {
				t.Errorf("got %+v, %v", info, err)
			}
		})
	}
}

func TestTheArgumentsOfA32BitProgramAreRecognised(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("for x86-64")
	}
	program := testutil.BuildC(t, "test/victims/set_title.c", "-m32")
	r := newReader(t)
	for method, rewritten := range map[string]bool{"none": false, "permute": false, "sshd": true} {
		h, set := startTitled(t, exec.Command(program, method, "a", "", "b"))
		set("title")
		if info, err := r.Read(t.Context(), h, ""); err != nil || info.Rewritten != rewritten {
			t.Errorf("%s: got %+v, %v", method, info, err)
		}
	}
}

func TestArgumentsThatAnotherProgramHasPreparedAreRecognised(t *testing.T) {
	idle := testutil.BuildC(t, "test/victims/idle.c")
	starts := map[string]*exec.Cmd{
		"no arguments": exec.Command(testutil.BuildC(t, "test/victims/exec_empty_argv.c"), idle),
	}
	// The dynamic linker runs a program in its own process and removes its own arguments.
	if linkers, _ := filepath.Glob("/lib*/ld-linux-*.so.*"); len(linkers) > 0 {
		starts["by the linker"] = exec.Command(linkers[0], idle, "a", "b")
	}
	for name, cmd := range starts {
		t.Run(name, func(t *testing.T) {
			pid := testutil.Start(t, cmd).Process.Pid
			testutil.Eventually(t, "the idle program", func() bool {
				call, err := os.ReadFile(process.Dir(pid) + "/wchan")
				// On newer architectures, pause is implemented by poll.
				return err == nil && (strings.Contains(string(call), "pause") || strings.Contains(string(call), "poll"))
			})
			if info := read(t, pid); info.Rewritten {
				t.Errorf("got %+v", info)
			}
		})
	}
}
