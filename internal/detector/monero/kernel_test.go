package monero

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

func loadDetector(t *testing.T) *Detector {
	t.Helper()
	d, err := Load(detectortest.Env(t, detectortest.Options{}), detector.Policy{Settings: Defaults()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// compute starts a program that computes until the test ends, and returns its pid.
func compute(t *testing.T, program string, args ...string) int {
	t.Helper()
	return testutil.Start(t, exec.Command(program, args...)).Process.Pid
}

// gather returns n samples of a process, or fewer if the limit expires. The sample rate is
// raised as for suspects.
func gather(t *testing.T, d *Detector, pid, n int, limit time.Duration) []sample {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer d.judge.sampler.wait()
	defer cancel()
	d.samples.SetDeadline(time.Now().Add(limit))
	var all []sample
	for len(all) < n {
		record, err := d.samples.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		x, err := decodeSample(record.RawSample)
		if err != nil {
			t.Fatal(err)
		}
		if x.program.PID == pid {
			all = append(all, x)
			d.judge.sampler.raise(ctx, x.cpu, time.Now().Add(raiseStep))
		}
	}
	return all
}

func TestTheKernelSamplesTheModeOfAThread(t *testing.T) {
	testutil.Privileged(t)
	modes := testutil.BuildC(t, "test/victims/honest_modes.c")
	d := loadDetector(t)
	const enough = 16
	tests := []struct {
		name string
		args string
		want string // the modes, as letters in the order of their numbers
	}{
		{"down", "d 1000", "d"},
		{"up", "u 1000", "u"},
		{"toward zero", "z 1000", "z"},
		{"up and down in turn", "ud 15000", "du"},
		{"all in turn", "nduz 15000", "nduz"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pid := compute(t, modes, strings.Fields(tt.args)...)
			all := gather(t, d, pid, enough*len(tt.want), testutil.Patience(10*time.Second))
			if len(all) < enough*len(tt.want) {
				t.Fatalf("only %d samples", len(all))
			}
			inFile, directed, seen := 0, 0, make(map[byte]int)
			for _, x := range all {
				seen["nduz"[x.mode]]++
				if x.mode == 0 {
					continue
				}
				directed++
				if d.judge.suspects.find(x).code(x) == rounding.FileCode {
					inFile++
				}
			}
			for _, letter := range []byte("nduz") {
				wanted := strings.IndexByte(tt.want, letter) >= 0
				// A process that is forked and not executed yet has its parent's mode.
				if wanted && seen[letter] < enough/4 || !wanted && seen[letter] > 0 {
					t.Errorf("%d of %d samples are in mode %c, all: %v", seen[letter], len(all), letter, seen)
				}
			}
			if inFile < directed*9/10 {
				t.Errorf("%d of %d directed samples are in the program's file", inFile, directed)
			}
		})
	}
}

// A user with subordinate ids has one share of what is remembered.
func TestTheKernelSeesWhoIsResponsible(t *testing.T) {
	testutil.Privileged(t)
	modes, err := os.Open(testutil.BuildC(t, "test/victims/honest_modes.c"))
	if err != nil {
		t.Fatal(err)
	}
	defer modes.Close()
	d := loadDetector(t)
	cmd := exec.Command("/proc/self/fd/3", "u", "1000") // in a directory that the user may not enter
	cmd.ExtraFiles = []*os.File{modes}
	pid := testutil.StartInUserNamespace(t, 4711, cmd).Process.Pid
	all := gather(t, d, pid, 2, testutil.Patience(10*time.Second))
	if len(all) < 2 {
		t.Fatalf("only %d samples", len(all))
	}
	if x := all[1]; x.uid != 104_711 || x.owner.UID != 4711 || d.judge.suspects.find(x).uid != x.uid {
		t.Errorf("got the user %d, and %d as responsible", x.uid, x.owner.UID)
	}
	container := exec.Command(modes.Name(), "u", "1000")
	container.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	pid = testutil.Start(t, container).Process.Pid
	all = gather(t, d, pid, 2, testutil.Patience(10*time.Second))
	if len(all) < 2 || all[1].uid != 0 || all[1].owner.UID != testutil.Namespace(t, pid, "pid") {
		t.Errorf("of a container: %+v", all)
	}
}

func TestTheKernelProgramFindsTheKindOfCode(t *testing.T) {
	testutil.Privileged(t)
	jit := testutil.BuildC(t, "test/victims/directed_jit.c")
	disk := t.TempDir()
	d := loadDetector(t)
	for name, c := range map[string]struct {
		args []string
		jit  bool
	}{
		"memory of no file":                        {[]string{"anonymous"}, true},
		"a file that is written as memory":         {[]string{"twice", disk}, true},
		"a memory file":                            {[]string{"memfd"}, true},
		"a file that is open for writing":          {[]string{"written", disk}, true},
		"a file that is written again and again":   {[]string{"reopen", disk}, true},
		"one file after the other":                 {[]string{"replace", disk}, true},
		"a private mapping that was writable":      {[]string{"text", disk}, true},
		"a private mapping, by /proc/self/mem":     {[]string{"mem", disk}, true},
		"a file that was written as shared memory": {[]string{"unmapped", "/dev/shm"}, true},
		"behind 60,000 mappings":                   {[]string{"anonymous", disk, "60000"}, true},
		"a library, in the end":                    {[]string{"library", disk}, false},
		"a library behind 60,000 mappings":         {[]string{"library", disk, "60000"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var fs unix.Statfs_t
			if err := unix.Statfs(disk, &fs); err != nil {
				t.Fatal(err)
			}
			if !c.jit && fs.Type == unix.TMPFS_MAGIC {
				t.Skip("the folder for temporary files is on tmpfs, where a library that the user can write counts as JIT code")
			}
			if c.args[0] == "mem" && !memoryFileForces(t) {
				t.Skip("this kernel denies writes to code through /proc/self/mem (PROC_MEM_FORCE)")
			}
			pid := compute(t, jit, c.args...)
			const enough = 64
			all := gather(t, d, pid, enough, testutil.Patience(20*time.Second))
			inJIT, directed := 0, 0
			for _, x := range all {
				if x.mode == 0 {
					continue
				}
				directed++
				if d.judge.suspects.find(x).code(x) == rounding.JITCode {
					inJIT++
				}
			}
			if directed < enough/2 || c.jit && inJIT < directed*9/10 || !c.jit && inJIT > directed/10 {
				t.Errorf("%d samples, %d directed, %d of those in JIT code", len(all), directed, inJIT)
			}
		})
	}
}

// memoryFileForces reports whether a process may write to its own read-only memory through
// /proc/self/mem. Since 6.12 a kernel can be configured to deny that.
func memoryFileForces(t *testing.T) bool {
	t.Helper()
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(page) }()
	f, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{1}, int64(uintptr(unsafe.Pointer(&page[0]))))
	if err != nil && !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	return err == nil
}

// One program does not touch the register, the other changes other bits of it.
func TestTheNearestModeGivesNoSample(t *testing.T) {
	testutil.Privileged(t)
	modes := testutil.BuildC(t, "test/victims/honest_modes.c")
	d := loadDetector(t)
	for _, args := range []string{"n 1000", "f 1000"} {
		if all := gather(t, d, compute(t, modes, strings.Fields(args)...), 1, time.Second); len(all) > 0 {
			t.Errorf("%s: sampled as %+v", args, all)
		}
	}
}

func TestDescribeNamesTheVariantForThisKernel(t *testing.T) {
	testutil.Privileged(t)
	variant, err := loadDetector(t).Describe()
	if err != nil || !strings.Contains(variant, ", registers ") {
		t.Errorf("got %q, %v", variant, err)
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
