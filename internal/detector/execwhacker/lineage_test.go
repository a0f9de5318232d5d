package execwhacker

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/evidence"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A lineageLine is that of a kill.
type lineageLine struct {
	Action    string
	PID, PPID int
	Cwd       string
	Ancestors []struct {
		PID     int
		Program string
		Ended   bool
	}
}

// findLineage waits for the line of the kill that ok accepts.
func findLineage(t *testing.T, log *testutil.Buffer, ok func(*lineageLine) bool) (l lineageLine) {
	t.Helper()
	testutil.Eventually(t, "the line of the kill", func() bool {
		for text := range strings.Lines(log.String()) {
			l = lineageLine{}
			if err := json.Unmarshal([]byte(text), &l); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if l.Action == "killed" && ok(&l) {
				return true
			}
		}
		return false
	})
	return l
}

// The agent begins to read events when the processes have ended.
func TestTheLineageOfAKilledProcessIsLogged(t *testing.T) {
	const word = "execwhackerlineagetestword"
	testutil.Privileged(t)
	var log testutil.Buffer
	env := detectortest.Env(t, detectortest.Options{Log: slog.New(slog.NewJSONHandler(&log, nil))})
	env.Judge.Evidence = evidence.New(env.Judge.Reader, env.Inventory, evidence.Settings{Ancestors: true, WorkingDirectory: true})
	d := loadIn(t, env, banning(t, word))
	checkAncestors := killInShells(t, word)
	checkDirectories := killInDirectories(t, word)
	detectortest.Run(t, d)
	checkAncestors(&log)
	checkDirectories(&log)
}

// killInShells has a program killed in shells, which end with it: they run nothing else. check checks
// the line.
func killInShells(t *testing.T, word string) (check func(*testutil.Buffer)) {
	t.Helper()
	inner := `echo $$; $0 -c 'true $0' "$WORD"; exit 0` // the inner one is killed
	cmd := exec.Command("sh", "-c", `echo $$; sh -c "$INNER" sh; exit 0`)
	cmd.Env = append(os.Environ(), "WORD="+word, "INNER="+inner)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var outer, middle int
	if _, err := fmt.Sscan(string(out), &outer, &middle); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return func(log *testutil.Buffer) {
		t.Helper()
		l := findLineage(t, log, func(l *lineageLine) bool { return l.PPID == middle })
		all := l.Ancestors
		if len(all) < 3 || all[0].PID != middle || all[1].PID != outer || all[2].PID != os.Getpid() {
			t.Fatalf("%d in %d in %d: %+v", middle, outer, os.Getpid(), l)
		}
		for i, a := range all[:3] {
			if own := i == 2; a.Ended == own || a.Program == "" || strings.Contains(a.Program, "/") != own {
				t.Errorf("ancestor %d: %+v", i, a)
			}
		}
	}
}

// killInDirectories has programs killed in all kinds of directories. check checks the lines.
func killInDirectories(t *testing.T, word string) (check func(*testutil.Buffer)) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	idle, err := os.ReadFile(testutil.BuildC(t, "test/victims/idle.c", "-static"))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "idle")
	if err := os.WriteFile(program, idle, 0o755); err != nil {
		t.Fatal(err)
	}
	makeDir := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	in := func(dir string) *exec.Cmd { return &exec.Cmd{Path: program, Dir: dir} }
	below := func(root, dir string) *exec.Cmd {
		return &exec.Cmd{Path: "/idle", Dir: dir, SysProcAttr: &syscall.SysProcAttr{Chroot: root}}
	}
	type wanted struct {
		name, cwd string
		cmd       *exec.Cmd
	}
	start := func(all ...wanted) error {
		for _, c := range all {
			c.cmd.Args = []string{"idle", word}
			if err := c.cmd.Start(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			t.Cleanup(func() { testutil.End(c.cmd) })
		}
		return nil
	}
	own, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	removed, err := os.Open(makeDir(dir + "/removed"))
	if err != nil {
		t.Fatal(err)
	}
	defer removed.Close()
	if err := os.Remove(removed.Name()); err != nil {
		t.Fatal(err)
	}
	const hostile = "/a\nb\x1b[31m\xff\\…"
	long, deep := "/"+strings.Repeat("y", 251), strings.Repeat("/d", 40)
	all := []wanted{
		{"an ordinary one", dir, in(dir)},
		{"the root", "/", in("/")},
		{"in another root", "/sub", below(dir, "/sub")},
		{"another root", "/", below(dir, "/")},
		{"outside of its root", "(unreachable)" + own, below(dir, "")},
		{"a hostile name", dir + `/a\x0ab\x1b[31m\xff\\\u2026`, in(makeDir(dir + hostile))},
		{"two long names", "…" + long + long, in(makeDir(dir + long + long))},
		{"many names", "…" + strings.Repeat("/d", 24), in(makeDir(dir + deep))},
		{"a removed one", dir + "/removed (deleted)", in(fmt.Sprintf("/proc/self/fd/%d", removed.Fd()))},
	}
	makeDir(dir + "/sub")
	if err := start(all...); err != nil {
		t.Fatal(err)
	}
	// As in a container: a file system of its own, and another one in it.
	outer, inner := makeDir(dir+"/mnt"), dir+"/mnt/inner"
	there := []wanted{
		{"on a mount", inner + "/sub", in(inner + "/sub")},
		{"a mount", inner, in(inner)},
		{"on a mount in another root", "/inner/sub", below(outer, "/inner/sub")},
		{"the root of a container", "/", below(outer, "/")},
	}
	gone := wanted{"on a mount that is gone", "(unreachable)/sub", in("")}
	mount := func(at string) error {
		return errors.Join(os.MkdirAll(at, 0o755), unix.Mount("tmpfs", at, "tmpfs", 0, ""),
			os.WriteFile(at+"/idle", idle, 0o755), os.Mkdir(at+"/sub", 0o755))
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // ends with the goroutine, since only this thread has the mounts
		err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		if err == nil {
			err = errors.Join(mount(outer), mount(inner), start(there...),
				unix.Chdir(inner+"/sub"), unix.Unmount(inner, unix.MNT_DETACH), start(gone))
		}
		started <- err
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	all = append(append(all, there...), gone)
	for _, c := range all {
		if s := testutil.DiedOf(c.cmd); s != syscall.SIGKILL {
			t.Fatalf("%s: it died of %v", c.name, s)
		}
	}
	return func(log *testutil.Buffer) {
		t.Helper()
		for _, c := range all {
			l := findLineage(t, log, func(l *lineageLine) bool { return l.PID == c.cmd.Process.Pid })
			if l.Cwd != c.cwd {
				t.Errorf("%s: got %q of %+v, want %q", c.name, l.Cwd, l, c.cwd)
			}
		}
	}
}
