package hashwork

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// hostileWays are arguments of test/victims/hostile.c.
var hostileWays = []string{"maps 65000", "files 60000", "remap", "sparse FILE", "fork"}

// startHostile starts a program of test/victims/hostile.c in a cgroup of its own.
func startHostile(t *testing.T, program, way string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, strings.Fields(strings.ReplaceAll(way, "FILE", filepath.Join(t.TempDir(), "sparse")))...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	startApart(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ran\n" {
		t.Fatalf("%s: %q, %v", way, line, err)
	}
	return cmd
}

// What makes it difficult to examine it dies nevertheless.
func TestAHostileMinerDies(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, "test/victims/hostile_words.c")
	for _, way := range hostileWays[:4] {
		t.Run(way, func(t *testing.T) {
			b := newBed(t, soon)
			t.Logf("CPU time %v", b.dies(startHostile(t, program, way), programRule))
		})
	}
	t.Run("from a file that hangs", func(t *testing.T) {
		b := newBed(t, soon)
		used := b.dies(startOnHangingFile(t, program), programRule)
		if used > testutil.Patience(7*time.Second) {
			t.Errorf("CPU time %v", used)
		}
	})
	for name, change := range map[string]func(path string) error{
		"a file whose mode changes all the time": func(path string) error { return os.Chmod(path, 0o755) },
		"a library that grows": func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write(make([]byte, 1000))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, soon)
			changed := testutil.BuildC(t, victim)
			cmd := exec.Command(changed)
			if strings.Contains(name, "library") {
				changed = testutil.BuildC(t, victim, "-shared", "-fPIC")
				cmd = exec.Command(needed(t, "python3"), "-c", fmt.Sprintf(
					"import ctypes; l = ctypes.CDLL(%q); l.compute.argtypes = [ctypes.c_double]; l.compute(0)", changed))
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				var err error
				for ctx.Err() == nil && err == nil {
					err = change(changed)
					time.Sleep(time.Millisecond)
				}
				ended <- err
			}()
			testutil.Start(t, cmd)
			t.Logf("CPU time %v", b.dies(cmd, programRule))
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// Beside hostile programs that are no miners, miners die as soon as otherwise, and the memory of
// this process does not grow.
func TestAMinerDiesBesideHostilePrograms(t *testing.T) {
	testutil.Privileged(t)
	program, miner := testutil.BuildC(t, "test/victims/hostile.c"), testutil.BuildC(t, victim)
	b := newBed(t, func(s *Settings) { soon(s); s.Learned.Enabled = false }) // else the second dies at its start
	before := resident(t)
	var hostile []*exec.Cmd
	for _, way := range hostileWays {
		hostile = append(hostile, startHostile(t, program, way))
	}
	for range 2 {
		hostile = append(hostile, startOnHangingFile(t, program))
	}
	time.Sleep(testutil.Patience(5 * time.Second)) // some are examined
	var times []time.Duration
	for _, cmd := range []*exec.Cmd{startApart(t, exec.Command(miner)), startApart(t, exec.Command(miner)), startApart(t, exec.Command(miner))} {
		times = append(times, b.dies(cmd, programRule))
	}
	m := median(times)
	t.Logf("the median of the CPU time is %v, of %v", m, times)
	if m > testutil.Patience(3*time.Second) {
		t.Errorf("the median of the CPU time is %v", m)
	}
	for _, cmd := range hostile {
		if err := cmd.Process.Signal(unix.Signal(0)); err != nil || len(b.lines(cmd.Process.Pid)) > 0 {
			t.Errorf("%v: %v, %v", cmd.Args, err, b.lines(cmd.Process.Pid))
		}
		testutil.End(cmd)
	}
	if grown := resident(t) - before; grown > 100<<20 {
		t.Errorf("the memory has grown by %d MiB", grown>>20)
	}
}

// examinerOf starts a program as startHostile does, and returns what examines it.
func examinerOf(t *testing.T, way string) (*examiner, *process.Handle) {
	t.Helper()
	cmd := startHostile(t, testutil.BuildC(t, "test/victims/hostile.c"), way)
	h, err := process.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return &examiner{reader: detectortest.Env(t, detectortest.Options{}).Judge.Reader}, h
}

// Of a process with very many files, an examination takes no longer than of another one.
func TestAnExaminationOfManyFilesIsBounded(t *testing.T) {
	testutil.Privileged(t)
	e, h := examinerOf(t, "files 60000")
	j := job{credit: newCredit(), state: new(state), policy: &policy{settings: Defaults()}}
	in, err := e.space(t.Context(), h, j)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range in.mappings {
		if m.Inode == 0 && m.Execute && m.Write {
			in.place([]uint64{m.Start})
		}
	}
	files := in.files()
	if len(files) < 60000 || files[0].share != 1 {
		t.Fatalf("%d files", len(files))
	}
	before, began := j.credit.bytes.Load(), time.Now()
	closest, err := e.program(t.Context(), h, j, in, files, false)
	if took := time.Since(began); took > testutil.Patience(time.Second) || closest == nil || err != nil {
		t.Errorf("it took %v, %v", took, err)
	}
	if spent := before - j.credit.bytes.Load(); spent < maxFiles*identityBytes {
		t.Errorf("%d bytes were charged", spent)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	began = time.Now()
	if _, err := e.program(over, h, j, in, files, false); !errors.Is(err, procread.ErrStuck) || time.Since(began) > testutil.Patience(100*time.Millisecond) {
		t.Errorf("after its time it took %v, %v", time.Since(began), err)
	}
	if s := e.reader.Stats(); s.TimedOut != 0 {
		t.Errorf("%+v", s)
	}
}

// The mappings of a process are not listed more often than its CPU time pays for.
func TestAListOfManyMappingsIsPaidFor(t *testing.T) {
	testutil.Privileged(t)
	e, h := examinerOf(t, "maps 65000")
	j := job{credit: newCredit()}
	j.credit.lists.Store(1)
	if in, err := e.space(t.Context(), h, j); err != nil || len(in.mappings) < 65000 {
		t.Fatal(err)
	}
	samples := -j.credit.lists.Load() / int64(earnedLists)
	if samples < 10 {
		t.Fatalf("a list of 65,000 mappings is paid for with %d samples", samples)
	}
	for range samples {
		j.credit.earn()
		if _, err := e.space(t.Context(), h, j); !errors.Is(err, errNoCredit) {
			t.Fatalf("it is listed again too early, %v", err)
		}
	}
	j.credit.earn()
	if _, err := e.space(t.Context(), h, j); err != nil {
		t.Error(err)
	}
	t.Logf("paid for with %d samples", samples)
}

// Programs whose files cannot be read do not hide a miner of the same owner.
func TestAMinerDiesThoughOtherFilesHang(t *testing.T) {
	testutil.Privileged(t)
	program, miner := testutil.BuildC(t, "test/victims/hostile.c"), testutil.BuildC(t, victim)
	b := newBed(t, soon)
	for n := range 2 { // the limit for one owner
		testutil.Start(t, exec.Command(hangingFile(t, program), "sparse", filepath.Join(t.TempDir(), "sparse")))
		testutil.Eventually(t, "a child left behind", func() bool { return b.verdicts.Judge.Reader.Stats().LeftBehind > n })
	}
	b.dies(testutil.Start(t, exec.Command(miner)), programRule)
}

// startOnHangingFile starts hostile.c from a file whose stat never returns.
func startOnHangingFile(t *testing.T, program string) *exec.Cmd {
	t.Helper()
	return startHostile(t, hangingFile(t, program), "remap")
}

// hangingFile returns the path of a copy of a program whose stat never returns.
func hangingFile(t *testing.T, program string) string {
	t.Helper()
	dir := t.TempDir()
	daemon := exec.Command(testutil.BuildC(t, "test/victims/fuse_program.c"), dir, program)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	testutil.Start(t, daemon)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "mounted\n" {
		t.Fatalf("output %q, %v", line, err)
	}
	return filepath.Join(dir, "program")
}

// resident returns the bytes of memory of this process that are present.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
