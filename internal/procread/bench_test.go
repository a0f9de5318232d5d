package procread

import (
	"log/slog"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// benchmark runs a benchmark on a process and reports the CPU time of this process,
// without that of the child.
func benchmark(b *testing.B, cmd *exec.Cmd, run func(*Reader, *process.Handle) error) {
	b.Helper()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	h, err := process.Open(cmd.Process.Pid)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	r := NewReader(slog.New(slog.DiscardHandler))
	defer r.Close()
	if err := run(r, h); err != nil {
		b.Fatal(err)
	}
	before := cpuTime(b)
	for b.Loop() {
		if err := run(r, h); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) int64 {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkReadingAProcess(b *testing.B) {
	benchmark(b, exec.Command("sleep", "600"), func(r *Reader, h *process.Handle) error {
		_, err := r.Read(b.Context(), h, "")
		return err
	})
}

func BenchmarkReadingSixMebibytesOfArguments(b *testing.B) {
	cmd := exec.Command(testutil.BuildC(b, "test/victims/huge_cmdline.c"), strconv.Itoa(MaxArgsBytes>>20))
	benchmark(b, cmd, func(r *Reader, h *process.Handle) error {
		_, err := r.Read(b.Context(), h, "")
		return err
	})
}
