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

// stat returns the content of /proc/PID/stat.
func stat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}

// children returns the pids of the reader processes of a process.
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

// childOf returns the pid of the child that a Reader uses next.
func childOf(r *Reader) int {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return r.pool.idle[len(r.pool.idle)-1].pid
}

// parentVariable is set to a pid in a process that runs TestAsParent.
const parentVariable = "CRYPTNONO_TEST_PARENT"

// TestAsParent reads a process forever. Other tests start it in a process.
func TestAsParent(t *testing.T) {
	pid, err := strconv.Atoi(os.Getenv(parentVariable))
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

// endsWithItsParent starts a process that reads victim forever, sends it a signal, and
// checks that its children end.
func endsWithItsParent(t *testing.T, victim int, signal syscall.Signal) {
	t.Helper()
	parent := exec.Command("/proc/self/exe", "-test.run=^TestAsParent$")
	parent.Env = append(os.Environ(), parentVariable+"="+strconv.Itoa(victim))
	testutil.Start(t, parent)
	var pids []int
	testutil.Eventually(t, "children", func() bool {
		if err := parent.Process.Signal(syscall.SIGSTOP); err != nil { // so that it starts no more children
			t.Fatal(err)
		}
		if pids = children(t, parent.Process.Pid); len(pids) == 0 {
			_ = parent.Process.Signal(syscall.SIGCONT)
		}
		return len(pids) > 0
	})
	if err := errors.Join(parent.Process.Signal(signal), parent.Process.Signal(syscall.SIGCONT)); err != nil {
		t.Log(err) // after SIGKILL, SIGCONT can fail
	}
	_ = parent.Wait()
	for _, pid := range pids {
		testutil.Eventually(t, fmt.Sprintf("the end of child %d after %v", pid, signal), func() bool {
			s, err := stat(pid)
			return err != nil || s.State == "Z"
		})
	}
}

func TestChildrenEndWithTheirParentAfterAnySignal(t *testing.T) {
	victim := testutil.Sleeper(t).Process.Pid
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV} {
		endsWithItsParent(t, victim, signal)
	}
}

func TestAChildInheritsOnlyItsPipes(t *testing.T) {
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
		inherited := slices.Contains([]string{"0", "1", "2"}, filepath.Base(fd)) && strings.HasPrefix(file, "pipe:")
		// The Go runtime opens some.
		ofRuntime := strings.HasPrefix(file, "anon_inode:[event") || strings.HasPrefix(file, "/sys/fs/cgroup/")
		if err != nil || !inherited && !ofRuntime {
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

func TestTheNumberOfChildrenIsLimited(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	var all sync.WaitGroup
	for owner := range 50 {
		all.Go(func() {
			for range 20 {
				// On a busy machine, answers can be late while other reads wait.
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
	_, _ = r.pool.cleanUp(time.Now().Add(idleTime + time.Second))
	if n := r.Stats().Children; n != 1 {
		t.Errorf("%d idle children", n)
	}
}

// blockExit stops a process during its exit, like one that waits for a file system, until
// release is called.
func blockExit(t *testing.T, pid int) (release func()) {
	t.Helper()
	held, released := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // only the tracing thread can detach
		const exitStops = unix.PTRACE_O_TRACEEXIT
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, exitStops, 0, 0)
		if errno != 0 {
			held <- errno
			return
		}
		held <- unix.Kill(pid, unix.SIGSTOP)
		<-released
		// If this is the first thread of the process, it does not end with the goroutine.
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
	return sync.OnceFunc(func() { close(released) })
}

func TestAChildThatDoesNotEndIsLeftBehind(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, "attacker"); err != nil {
		t.Fatal(err)
	}
	release := blockExit(t, childOf(r))
	defer release()
	if _, err := r.Read(t.Context(), h, "attacker"); err == nil {
		t.Error("a stopped child has answered")
	}
	testutil.Eventually(t, "one left behind", func() bool { return r.Stats().LeftBehind == 1 })
	other := handle(t, testutil.Sleeper(t).Process.Pid)
	if info, err := r.Read(t.Context(), other, "attacker"); err != nil || info.Rewritten {
		t.Errorf("another process: %+v, %v", info, err)
	}
	release()
	testutil.Eventually(t, "none left behind", func() bool { return r.Stats().LeftBehind == 0 })
}

func TestCloseDoesNotWaitForAChildThatDoesNotEnd(t *testing.T) {
	r := newReader(t)
	h := handle(t, testutil.Sleeper(t).Process.Pid)
	if _, err := r.Read(t.Context(), h, ""); err != nil {
		t.Fatal(err)
	}
	pid := childOf(r)
	release := blockExit(t, pid)
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
	time.Sleep(10 * time.Millisecond) // if the read starts after Close, the result is the same
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
				t.Error("a read during Close succeeded")
			}
		case <-time.After(testutil.Patience(5 * time.Second)):
			t.Fatal("Close or Read waits for a child that does not end")
		}
	}
	if _, err := r.Read(t.Context(), h, ""); err == nil {
		t.Error("a read after Close succeeded")
	}
}

func TestAProcessWithTheNameOfAChildButArgumentsDoesNotServe(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Args[0] = childName
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil && err != io.EOF || !strings.HasPrefix(line, "testing: warning") && line != "PASS\n" {
		t.Errorf("output %q, %v", line, err)
	}
}

func TestARequestThatIsNotSentInTimeMayBeSentAgain(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	c := &child{requests: w}
	if err := w.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	_, err = w.Write([]byte("late"))
	if err = c.broken(err); !errors.Is(err, ErrStuck) || c.usable() {
		t.Errorf("got %v, usable %v", err, c.usable())
	}
}
