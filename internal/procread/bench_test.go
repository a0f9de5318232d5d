package procread

import (
	"bytes"
	"log/slog"
	"os"
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

// twentyMebibytes maps a file of that size.
func twentyMebibytes(b *testing.B, r *Reader) (*os.File, Mapping) {
	b.Helper()
	f, m := largeFile(b, r, 20<<20)
	if _, err := f.WriteAt(bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16), 0); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(20 << 20)
	return f, m
}

func BenchmarkTwentyMebibytesOfAMappedFile(b *testing.B) {
	r := NewReader(slog.New(slog.DiscardHandler))
	defer r.Close()
	_, m := twentyMebibytes(b, r)
	h, total := self(b), 0
	for b.Loop() {
		_, err := r.MappedFile(b.Context(), h, "", m, []Range{{0, 20 << 20}}, func(_ uint64, data []byte) error {
			total += len(data)
			return nil
		})
		if err != nil || total != 20<<20 {
			b.Fatal(total, err)
		}
		total = 0
	}
}

func BenchmarkTwentyMebibytesWithReadFile(b *testing.B) {
	r := NewReader(slog.New(slog.DiscardHandler))
	defer r.Close()
	f, _ := twentyMebibytes(b, r)
	for b.Loop() {
		if data, err := os.ReadFile(f.Name()); err != nil || len(data) != 20<<20 {
			b.Fatal(len(data), err)
		}
	}
}

func BenchmarkTheIdentityOfAMappedFile(b *testing.B) {
	r := NewReader(slog.New(slog.DiscardHandler))
	defer r.Close()
	_, m := largeFile(b, r, 4096)
	h := self(b)
	for b.Loop() {
		if _, err := r.MappedFile(b.Context(), h, "", m, nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSixtyFourRangesOfMemory(b *testing.B) {
	r := NewReader(slog.New(slog.DiscardHandler))
	defer r.Close()
	memory := mapMemory(b, 64<<12)
	var ranges []Range
	for i := range 64 {
		memory[i<<12] = 1
		ranges = append(ranges, Range{addressOf(memory) + uint64(i)<<12, addressOf(memory) + uint64(i)<<12 + 256})
	}
	h := self(b)
	for b.Loop() {
		if err := r.Memory(b.Context(), h, "", ranges, func(uint64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMappings(b *testing.B) {
	benchmark(b, exec.Command("sleep", "600"), func(r *Reader, h *process.Handle) error {
		return r.Mappings(b.Context(), h, "", func(Mapping) error { return nil })
	})
}
