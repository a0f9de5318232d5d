package scratchpad

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// The samples are those of a debugger, so this needs neither root nor the agent's clock.
func TestCompiledLoopsAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of a CPU")
	}
	program := testutil.BuildC(t, "test/victims/scratchpad.c")
	for way, want := range map[string]Verdict{
		"aes":   Kill,
		"soft":  Observe,
		"table": Observe, // a limit: it masks the offset, not the index
	} {
		t.Run(way, func(t *testing.T) {
			f := sampled(t, exec.Command(program, way))
			t.Log(f.LogValue())
			if f.Verdict() != want {
				t.Errorf("verdict %v, want %v", f.Verdict(), want)
			}
		})
	}
}

func TestLibraryInAnInterpreterIsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of a CPU")
	}
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil || os.Getenv("CRYPTNONO_VICTIMS") != "" {
		t.Skip("needs python3 and a compiler")
	}
	library := testutil.BuildC(t, "test/victims/scratchpad.c", "-shared", "-fPIC")
	script := fmt.Sprintf(`import ctypes; print(flush=True); ctypes.CDLL(%q).compute(b"aes")`, library)
	f := sampled(t, exec.Command(python, "-c", script))
	t.Log(f.LogValue())
	if f.Verdict() != Kill {
		t.Errorf("verdict %v", f.Verdict())
	}
}

// sampled starts a program, and returns the finding for its main thread after the first line
// of its output.
func sampled(t *testing.T, cmd *exec.Cmd) Finding {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	testutil.Start(t, cmd)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	runtime.LockOSThread() // the tracer is a thread
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		t.Fatalf("tracing: %v", err)
	}
	time.Sleep(testutil.Patience(100 * time.Millisecond)) // it fills its scratchpad
	s := New(AMD64)
	for range 400 {
		time.Sleep(time.Millisecond + rand.N(time.Millisecond))
		x, err := stop(pid)
		if err != nil {
			t.Fatalf("sampling: %v", err)
		}
		s.Add(int32(pid), x.Rip, []uint64{
			x.Rax, x.Rbx, x.Rcx, x.Rdx, x.Rsi, x.Rdi, x.Rbp, x.R8, x.R9, x.R10, x.R11, x.R12, x.R13, x.R14, x.R15,
		})
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	code := make(map[uint64][]byte)
	for _, line := range s.Lines() {
		b := make([]byte, CodeBytes)
		n, _ := mem.ReadAt(b, int64(line-CodeBefore)) // as much as there is
		code[line] = b[:n]
	}
	return s.Judge(code)
}

// stop interrupts a process and returns its registers.
func stop(pid int) (x unix.PtraceRegs, err error) {
	if err := unix.PtraceInterrupt(pid); err != nil {
		return x, fmt.Errorf("interrupting: %w", err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return x, fmt.Errorf("waiting: status %x, %w", status, err)
	}
	if err := unix.PtraceGetRegs(pid, &x); err != nil {
		return x, fmt.Errorf("reading registers: %w", err)
	}
	return x, unix.PtraceCont(pid, 0)
}
