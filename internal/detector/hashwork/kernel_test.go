package hashwork

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const victim = "test/victims/miner_words.c"

// A program with the words of a miner dies, however it is started.
func TestAProgramWithTheWordsOfAMinerDies(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, victim)
	inMemory := testutil.BuildC(t, "test/victims/execveat_memfd.c")
	b := newBed(t, func(s *Settings) { soon(s); s.Learned.Enabled = false })
	for _, c := range []struct {
		name string
		cmd  func() *exec.Cmd
		file string // in the line
	}{
		{"by its path", func() *exec.Cmd { return exec.Command(program) }, program},
		{"from a memfd", func() *exec.Cmd { return exec.Command(inMemory, program, "worker") }, "/memfd: (deleted)"},
		{"in another mount namespace", func() *exec.Cmd {
			cmd := exec.Command(program)
			cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			return cmd
		}, program},
		{"on a file system that is unmounted", func() *exec.Cmd {
			dir := t.TempDir()
			mount(t, dir)
			copied := copyOf(t, program, dir)
			cmd := testutil.Start(t, exec.Command(copied))
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			return cmd
		}, "/worker"},
		{"deleted", func() *exec.Cmd {
			copied := copyOf(t, program, t.TempDir())
			cmd := testutil.Start(t, exec.Command(copied))
			if err := os.Remove(copied); err != nil {
				t.Fatal(err)
			}
			return cmd
		}, "/worker (deleted)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			cmd := c.cmd()
			if cmd.Process == nil {
				testutil.Start(t, cmd)
			}
			pid := cmd.Process.Pid
			used := b.dies(cmd, programRule)
			t.Logf("CPU time %v", used)
			evidence, _ := b.lines(pid)[0]["evidence"].(map[string]any)
			if file, _ := evidence["file"].(string); !strings.HasSuffix(file, c.file) || evidence["protocol_words"] != 5.0 || evidence["algorithm_words"] != 3.0 {
				t.Errorf("the evidence is %v", evidence)
			}
		})
	}
}

func mount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// copyOf copies a program to DIR/worker.
func copyOf(t *testing.T, program, dir string) string {
	t.Helper()
	b, err := os.ReadFile(program)
	to := filepath.Join(dir, "worker")
	if err == nil {
		err = os.WriteFile(to, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestAMinerThatStartsItselfAgainDies(t *testing.T) {
	testutil.Privileged(t)
	program := testutil.BuildC(t, victim)
	for _, how := range []string{"again", "fork"} {
		t.Run(how, func(t *testing.T) {
			newBed(t, soon)
			cmd := exec.Command(program, how)
			out, err := cmd.StdoutPipe() // all of them have it
			if err != nil {
				t.Fatal(err)
			}
			cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
			testutil.Start(t, cmd)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = out.Read(make([]byte, 1))
			}()
			select {
			case <-ended:
			case <-time.After(testutil.Patience(60 * time.Second)):
				_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
				t.Error("it lives")
				<-ended
			}
		})
	}
}

// A library with the words, in an interpreter.
func TestALibraryWithTheWordsOfAMinerDies(t *testing.T) {
	testutil.Privileged(t)
	python := needed(t, "python3")
	library := testutil.BuildC(t, victim, "-shared", "-fPIC")
	b := newBed(t, soon)
	cmd := testutil.Start(t, exec.Command(python, "-c", fmt.Sprintf(
		"import ctypes; l = ctypes.CDLL(%q); l.compute.argtypes = [ctypes.c_double]; l.compute(0)", library)))
	b.dies(cmd, programRule)
}

// needed returns the path of a program, which guests do not have.
func needed(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CRYPTNONO_VICTIMS") == "" {
			t.Fatal(err)
		}
		t.Skip("not in a guest")
	}
	return path
}

// What computes, and only holds the words in its memory, lives.
func TestAScannerForMinersLives(t *testing.T) {
	testutil.Privileged(t)
	program, python := testutil.BuildC(t, victim), needed(t, "python3")
	b := newBed(t, soon)
	cmd := testutil.Start(t, exec.Command(python, "-c", fmt.Sprintf(`
import mmap, time
text = open(%[1]q, "rb").read()
file = open(%[1]q, "rb")
mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
while time.process_time() < 4:
    for word in (b"mining.notify", b"nothing"):
        text.count(word)
        mapped.find(word)
`, program)))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, b.log.String())
	}
}

func TestWithActionObserveAMinerLives(t *testing.T) {
	testutil.Privileged(t)
	b := newBed(t, func(s *Settings) { soon(s); s.Action = "observe" })
	cmd := testutil.Start(t, exec.Command(testutil.BuildC(t, victim)))
	var lines []map[string]any
	testutil.Eventually(t, "the line", func() bool {
		lines = b.lines(cmd.Process.Pid)
		return len(lines) > 0
	})
	b.examinedAgain(t, cmd)
	if lines = b.lines(cmd.Process.Pid); len(lines) != 1 || lines[0]["action"] != "observed" {
		t.Errorf("the lines are %v", lines)
	}
	if cmd.Process.Signal(unix.Signal(0)) != nil {
		t.Error("it died")
	}
}

// The clock runs on all CPUs, and is started again where it has stopped: the kernel ends it on a
// CPU that goes offline. Here it is disabled, since taking a CPU offline changes cpusets for good.
func TestTheClockRunsOnAllCPUs(t *testing.T) {
	b := newBed(t, nil)
	for n := range runtime.NumCPU() {
		busyOn(t, n)
	}
	samples := func() (byCPU []uint64) {
		t.Helper()
		if err := b.objs.Counters.Lookup(uint32(bpfCounterSAMPLED), &byCPU); err != nil {
			t.Fatal(err)
		}
		return byCPU
	}
	first := samples()
	testutil.Eventually(t, "samples of all CPUs", func() bool {
		now := samples()
		for n := range runtime.NumCPU() {
			if now[n] == first[n] {
				return false
			}
		}
		return true
	})
	b.clock.mu.Lock()
	event := b.clock.cpus[0].event
	b.clock.mu.Unlock()
	if err := unix.IoctlSetInt(event, unix.PERF_EVENT_IOC_DISABLE, 0); err != nil {
		t.Fatal(err)
	}
	stopped := samples()[0]
	for range 2 { // the second call sees that it has stopped
		if err := b.clock.refresh(); err != nil {
			t.Fatal(err)
		}
	}
	testutil.Eventually(t, "samples of the CPU whose clock had stopped", func() bool { return samples()[0] > stopped })
}

// busyOn starts a program that computes on a CPU.
func busyOn(t *testing.T, cpu int) *exec.Cmd {
	t.Helper()
	busy := testutil.Start(t, exec.Command("sh", "-c", "while :; do :; done"))
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(busy.Process.Pid, &set); err != nil {
		t.Fatal(err)
	}
	return busy
}

// Some kernels run no program at a tick of an idle CPU; its clock runs nevertheless.
func TestTheClockOfAnIdleCPUIsLeftToRun(t *testing.T) {
	b := newBed(t, nil)
	started := time.Now()
	for time.Since(started) < time.Second {
		time.Sleep(100 * time.Millisecond)
		if err := b.clock.refresh(); err != nil {
			t.Fatal(err)
		}
	}
	b.clock.mu.Lock()
	defer b.clock.mu.Unlock()
	for n, c := range b.clock.cpus {
		if c.event >= 0 && time.Duration(c.ran) < time.Second {
			t.Errorf("the clock of CPU %d was started again and has run for %v", n, time.Duration(c.ran))
		}
	}
}

// A process cannot know when it will be sampled, and sleep then.
func TestTheTicksOfTheClockAreNotPredictable(t *testing.T) {
	testutil.Privileged(t)
	var s sampler
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	rate := Defaults().SampleRate
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	if err := s.clock.set(rate); err != nil {
		t.Fatal(err)
	}
	busy := busyOn(t, 0)
	const parts = 16 // of the time between two ticks at the rate
	between := time.Second / time.Duration(rate)
	phases := make(map[int]int)
	for range 5 {
		time.Sleep(drainInterval)
		if err := s.take(nil, func(x sample) {
			if x.program.PID == busy.Process.Pid {
				phases[int(x.at%between*parts/between)]++
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(phases) < parts/2 {
		t.Errorf("samples by phase: %v", phases)
	}
}

func TestTheVerifierIsFarFromItsLimit(t *testing.T) {
	testutil.Privileged(t)
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	testutil.LogVerified(t, Name, spec)
}
