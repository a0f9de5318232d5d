package execwhacker

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// Listing processes adds a record to each process without one. It must not do so for a child
// whose record is being created, or the exec of the child would count as not seen.
func TestAChildInheritsItsRecordWhileProcessesAreListed(t *testing.T) {
	d := load(t, "execwhackerinherittestword")
	storm := exec.Command(testutil.BuildC(t, "test/victims/fork_storm.c"), strconv.Itoa(testutil.Rounds(t, 20_000)))
	if err := storm.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- storm.Wait() }()
	lists, listed, lost := 0, 0, 0
	for over := false; !over; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		default:
		}
		all, err := d.judge.list.unjudged(1 << 31)
		if err != nil {
			t.Fatal(err)
		}
		lists++
		children := slices.DeleteFunc(all, func(s suspect) bool { return s.PPID != storm.Process.Pid })
		listed += len(children)
		for i, s := range children {
			// A child has its own record before the next one is forked.
			seen := s.seen()
			next := i+1 < len(children) && children[i+1].PID > s.PID
			if !seen && next && d.judge.list.executes(s.PID) == s.exec {
				lost++
			}
		}
	}
	t.Logf("%d lists, %d children in them", lists, listed)
	if lost > 0 || listed == 0 {
		t.Errorf("%d children of %d are not known as those of their parent", lost, listed)
	}
}

// The kernel's iterator includes zombies. A record of a zombie would never be deleted and would
// fill the map.
func TestZombiesGetNoRecord(t *testing.T) {
	d := load(t, "execwhackerinherittestword")
	ended := exec.Command("/bin/true")
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	pid := ended.Process.Pid
	testutil.Eventually(t, "its end", func() bool { return stateOf(t, pid) == "Z" })
	all, err := d.judge.list.unjudged(1 << 31)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.PID == pid {
			t.Error("a zombie is listed")
		}
	}
	if err := ended.Wait(); err != nil {
		t.Fatal(err)
	}
	if exec := d.judge.list.executes(pid); exec != 0 {
		t.Errorf("a record is left, of the exec %#x", exec)
	}
}

// On Linux 7.0 and later a preempted program of the kernel can keep another exec from being seen. Its process
// has the record of what it was forked from, which must not stand for another program.
func TestAProcessWhoseExecWasNotSeenIsListed(t *testing.T) {
	d := load(t, "execwhackerinherittestword")
	shell := exec.Command("/bin/sh", "-c", "read line; exec /bin/sleep 1000")
	goOn, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = shell.Process.Kill(); _ = shell.Wait() })
	pid := shell.Process.Pid
	listed := func() (s suspect, ok bool) {
		all, err := d.unjudged()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.PID == pid {
				return s, true
			}
		}
		return suspect{}, false
	}
	// Start returns before the exec is judged.
	testutil.Eventually(t, "its verdict", func() bool { _, ok := listed(); return !ok })
	// Without this, judge_exec does nothing.
	if err := d.entry.Slot.Delete(uint32(0)); err != nil {
		t.Fatal(err)
	}
	if _, err := goOn.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, "its exec", func() bool {
		program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return !strings.HasSuffix(program, "sh")
	})
	var s suspect
	testutil.Eventually(t, "the end of execve", func() (ok bool) { s, ok = listed(); return ok })
	if s.seen() || s.path != "" || !s.open || s.generation != d.generations.Load().number {
		t.Errorf("listed with the record %+v", s.record)
	}
	if again, ok := listed(); !ok || again.exec != s.exec {
		t.Errorf("then listed: %v, with the record %+v", ok, again.record)
	}
}

// A tracer can hold a process at the end of an exec, without a limit. If that was not seen, the first scan
// leaves the process out, and brings about others.
func TestAProcessThatATracerHoldsInAnExecDies(t *testing.T) {
	const word = "execwhackerheldtestword"
	d := load(t, word)
	tracer := exec.Command(testutil.BuildC(t, "test/victims/exec_held.c"), "trace", testutil.BuildC(t, "test/victims/idle.c"))
	goOn, lines := startPiped(t, tracer)
	pid, err := strconv.Atoi(lines())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.entry.Slot.Delete(uint32(0)); err != nil { // as above
		t.Fatal(err)
	}
	goOn(word)
	if lines() != "held" {
		t.Fatal("it is not held")
	}
	<-d.rescan
	d.requestScan(execsLost) // the kernel has counted it
	detectortest.Run(t, d)
	testutil.Eventually(t, "its end", func() bool { return stateOf(t, pid) == "Z" })
}

// The first thread of a process can hang in execve while others work on.
func TestAProcessInAnExecThatHangsIsListedSoon(t *testing.T) {
	d := load(t, "execwhackerheldtestword")
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("/bin/sh", "-c", `echo ready; read line; exec "$0" hang "$1"`, testutil.BuildC(t, "test/victims/exec_held.c"), file)
	goOn, lines := startPiped(t, shell)
	lines()
	if err := d.entry.Slot.Delete(uint32(0)); err != nil { // as above
		t.Fatal(err)
	}
	goOn("")
	if lines() != "held" {
		t.Fatal("it is not held")
	}
	isListedSoon(t, d, shell.Process.Pid)
}

// isListedSoon checks that lists leave a process out for a second, and that each time a scan is due.
func isListedSoon(t *testing.T, d *Detector, pid int) {
	t.Helper()
	missed := func() uint64 {
		n, err := d.missedExecs()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	listed := func() bool {
		all, err := d.unjudged()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(all, func(s suspect) bool { return s.PID == pid && !s.seen() && s.open })
	}
	before, began := missed(), time.Now()
	for !listed() { // on a kernel that does not say what is under way, it is listed at once
		now := missed()
		if now == before {
			t.Fatal("no scan is due though a process was left out")
		}
		if time.Since(began) > testutil.Patience(5*time.Second) {
			t.Fatal("not listed")
		}
		before = now
		time.Sleep(50 * time.Millisecond)
	}
}

// startPiped starts a program that ends with its input. goOn sends it a line, next waits for one of its output.
func startPiped(t *testing.T, cmd *exec.Cmd) (goOn func(string), next func() string) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return func(line string) { _, _ = in.Write([]byte(line + "\n")) }, func() string { lines.Scan(); return lines.Text() }
}

// stateOf returns the state of a process as in /proc/PID/stat.
func stateOf(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
}
