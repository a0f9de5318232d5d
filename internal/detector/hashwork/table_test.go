package hashwork

import (
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
)

func newFlags() *flag.FlagSet {
	f := flag.NewFlagSet("top", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

var update = flag.Bool("update", false, "write the expected tables")

// exampleFrame has each kind of row.
func exampleFrame() frame {
	pod := &totals{place: place{Namespace: "hub", Pod: "jupyter-a", Container: "notebook"}, Processes: 2, CPUPercent: 191.2, CPUSeconds: 7204.5, Read: 91_000, Written: 12_345_678, Connections: 1}
	slice := &totals{place: place{Cgroup: "/user.slice/user-1000.slice"}, Processes: 1}
	in := place{Namespace: "hub", Pod: "jupyter-a", Container: "notebook"}
	return frame{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 5.01, Lost: 7, Others: 2,
		Thresholds: thresholds{4, 2, 4, 0.8, 0.25, 0.01},
		Containers: []*totals{pod, slice},
		Processes: []*row{
			{place: in, PID: 4711, UID: 1000, Comm: "python3", CPUPercent: 98.4, CPUSeconds: 7200, in: pod, look: look{
				Anonymous: share(0.03), Hottest: &hottest{File: "/tmp/.x/lib.so (deleted)", Share: 0.9, Deleted: true, Writable: true},
				Moved:      &moved{Read: 91_000, Written: 999, Connections: 1, More: true},
				Words:      &wordsFound{Counts: words.Counts{Protocol: 5, Algorithm: 3}},
				Scratchpad: &walked{Samples: 512, Walks: 0.31},
			}},
			{place: in, PID: 4712, UID: 1000, Comm: "node", CPUPercent: 92.8, CPUSeconds: 4.5, in: pod, look: look{
				Anonymous: share(1), Moved: &moved{Written: 12_344_679}, Words: &wordsFound{Counts: words.Counts{Protocol: 2, Constant: 4}}, Scratchpad: &walked{Samples: 96, Walks: 0.1},
			}},
			{place: place{Cgroup: "/user.slice/user-1000.slice/user@1000.service/app.slice/run-u1.scope"}, PID: 99, UID: 65534, Comm: "worker", CPUPercent: 3, CPUSeconds: 12.25, in: slice, look: look{
				Anonymous: share(0.99), Hottest: &hottest{File: "/memfd:x (deleted)", Share: 0.99, Memfd: true},
			}},
			{PID: 100, CPUPercent: 0.4, in: &totals{Processes: 1}, Error: "the process has ended"},
		},
	}
}

func TestTheTableIsAsExpected(t *testing.T) {
	for name, size := range map[string][2]int{"testdata/top.txt": {}, "testdata/top-80.txt": {80, 4}} {
		width := size[0]
		got := exampleFrame().table(width, size[1])
		if *update {
			if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(name)
		if err != nil || got != string(want) {
			t.Errorf("%s, %v: got\n%s", name, err, got)
		}
		for line := range strings.Lines(got) {
			if n := utf8.RuneCountInString(line) - 1; width > 0 && n > width {
				t.Errorf("%d characters: %s", n, line)
			}
		}
	}
}

func TestAmountsHaveUnits(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1.0K", 9949: "9.9K", 9950: "10K", 999_499: "999K", 999_500: "1.0M", 1_500_000_000: "1.5G", 1<<64 - 1: "18E",
	} {
		if got := amount(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
}
