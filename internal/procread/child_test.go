package procread

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/prometheus/procfs"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// stat returns what the kernel tells of a process.
func stat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// children returns the pids of a process's children that read for it.
func children(t *testing.T, parent int) []int {
	t.Helper()
	pids, err := process.List()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(pids, func(pid int) bool {
		s, err := stat(pid)
		return err != nil || s.State == "Z" || s.PPID != parent || !strings.HasPrefix(s.Comm, childName[:15])
	})
}

// childOf returns the pid of the child that a reader will use next.
func childOf(r *Reader) int {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return r.pool.idle[len(r.pool.idle)-1].pid
}

// ownerVariable names the process that the test program reads for ever when it is set.
const ownerVariable = "CRYPTNONO_TEST_OWNER"

// TestOwner is no test, but the process of the next one.
func TestOwner(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(ownerVariable))
	if err != nil {
		t.Skip("started by another test")
	}
	r := newReader(t)
	var all sync.WaitGroup
	for owner := range maxChildren {
		all.Go(func() {
			for {
				_, _ = r.Read(t.Context(), handle(t, pid), strconv.Itoa(owner))
			}
		})
	}
	all.Wait()
}

// endsWithItsParent has a process read another one for ever, ends it by a signal, and looks
// for the end of its children.
func endsWithItsParent(t *testing.T, victim int, signal syscall.Signal) {
	t.Helper()
	owner := exec.Command("/proc/self/exe", "-test.run=^TestOwner$")
	owner.Env = append(os.Environ(), ownerVariable+"="+strconv.Itoa(victim))
	testutil.Start(t, owner)
	var pids []int
	testutil.Eventually(t, "children", func() bool {
		if err := owner.Process.Signal(syscall.SIGSTOP); err != nil { // so that none are born
			t.Fatal(err)
		}
		if pids = children(t, owner.Process.Pid); len(pids) == 0 {
			_ = owner.Process.Signal(syscall.SIGCONT)
		}
		return len(pids) > 0
	})
	if err := errors.Join(owner.Process.Signal(signal), owner.Process.Signal(syscall.SIGCONT)); err != nil {
		t.Log(err) // SIGKILL may have been quicker than SIGCONT
	}
	_ = owner.Wait()
	for _, pid := range pids {
		testutil.Eventually(t, fmt.Sprintf("the end of child %d after %v", pid, signal), func() bool {
			s, err := stat(pid)
			return err != nil || s.State == "Z"
		})
	}
}

func TestChildrenEndWithTheirParentHoweverItEnds(t *testing.T) {
	victim := testutil.Sleeper(t).Process.Pid
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV} {
		endsWithItsParent(t, victim, signal)
	}
}

func TestAChildHoldsNothingOfItsParent(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, ""); err != nil {
		t.Fatal(err)
	}
	child := childOf(r)
	links, err := filepath.Glob(process.Dir(child) + "/fd/*")
	if err != nil || len(links) < 3 {
		t.Errorf("descriptors: %v, %v", links, err)
	}
	for _, fd := range links {
		file, err := os.Readlink(fd)
		given := slices.Contains([]string{"0", "1", "2"}, filepath.Base(fd)) && strings.HasPrefix(file, "pipe:")
		// Go's runtime opens some for itself.
		runtimes := strings.HasPrefix(file, "anon_inode:[event") || strings.HasPrefix(file, "/sys/fs/cgroup/")
		if err != nil || !given && !runtimes {
			t.Errorf("%s is %s, %v", fd, file, err)
		}
	}
	if env, err := os.ReadFile(process.Dir(child) + "/environ"); err != nil || string(env) != "GOMAXPROCS=1\x00GOTRACEBACK=none\x00" {
		t.Errorf("environment %q, %v", env, err)
	}
}

func TestAChildThatDiesIsReplaced(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	for range 3 {
		if info, err := r.Read(t.Context(), h, ""); err != nil || string(info.Args) != "sleep\x00600\x00" {
			t.Fatalf("got %+v, %v", info, err)
		}
		if err := unix.Kill(childOf(r), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if s := r.Stats(); s.TimedOut != 0 {
		t.Errorf("%+v", s)
	}
}

func TestChildrenTheMostAndTheFewest(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	var all sync.WaitGroup
	for owner := range 50 {
		all.Go(func() {
			for range 20 {
				// A busy machine is late, and others wait.
				if _, err := r.Read(t.Context(), h, strconv.Itoa(owner)); err != nil && !errors.Is(err, ErrStuck) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := r.Stats().Children; n < 1 || n > maxChildren {
		t.Errorf("%d children", n)
	}
	_, _ = r.pool.look(time.Now().Add(idleTime + time.Second))
	if n := r.Stats().Children; n != 1 {
		t.Errorf("%d children when there is nothing to do", n)
	}
}

// holdDeath makes a process stop on its way to its end, as one does that waits for a file
// system, and returns how to let it go.
func holdDeath(t *testing.T, pid int) (release func()) {
	t.Helper()
	held, let := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // which alone may let it go
		const exitStops = unix.PTRACE_O_TRACEEXIT
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, exitStops, 0, 0)
		if errno != 0 {
			held <- errno
			return
		}
		held <- unix.Kill(pid, unix.SIGSTOP)
		<-let
		// The thread may be the first of this process, which does not end with the goroutine.
		for range 1000 {
			if unix.PtraceDetach(pid) == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := <-held; err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() { close(let) })
}

func TestAChildThatDoesNotDieIsLeftBehind(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, "stranger"); err != nil {
		t.Fatal(err)
	}
	release := holdDeath(t, childOf(r))
	defer release()
	if _, err := r.Read(t.Context(), h, "stranger"); err == nil {
		t.Error("a stopped child has answered")
	}
	testutil.Eventually(t, "one left behind", func() bool { return r.Stats().LeftBehind == 1 })
	other := handle(t, testutil.Sleeper(t).Process.Pid)
	if info, err := r.Read(t.Context(), other, "stranger"); err != nil || info.Rewritten {
		t.Errorf("another process: %+v, %v", info, err)
	}
	release()
	testutil.Eventually(t, "none left behind", func() bool { return r.Stats().LeftBehind == 0 })
}

func TestCloseDoesNotWaitForAChildThatDoesNotDie(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, ""); err != nil {
		t.Fatal(err)
	}
	pid := childOf(r)
	release := holdDeath(t, pid)
	defer func() {
		release()
		testutil.Eventually(t, "the end", func() bool {
			ended, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
			return ended == pid || err != nil
		})
	}()
	reading := make(chan error)
	go func() {
		_, err := r.Read(t.Context(), h, "")
		reading <- err
	}()
	time.Sleep(10 * time.Millisecond) // it may also come too late: the outcome is the same
	closed := make(chan error)
	go func() { closed <- r.Close() }()
	for range 2 {
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case err := <-reading:
			if err == nil {
				t.Error("a reader that is closed has read")
			}
		case <-time.After(testutil.Patience(5 * time.Second)):
			t.Fatal("somebody waits for a child that does not die")
		}
	}
	if _, err := r.Read(t.Context(), h, ""); err == nil {
		t.Error("a closed reader reads")
	}
}

// A name is no reason to do something else than what the arguments say.
func TestOnlyTheChildServes(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Args[0] = childName // but with an argument
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil && err != io.EOF || !strings.HasPrefix(line, "testing: warning") && line != "PASS\n" {
		t.Errorf("it said %q, %v", line, err)
	}
}
