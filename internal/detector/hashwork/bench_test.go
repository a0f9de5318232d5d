package hashwork

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// load loads a detector whose action is observe.
func load(b *testing.B, rate int) *Detector {
	b.Helper()
	s := Defaults()
	s.Action, s.SampleRate = "observe", rate
	d, err := Load(detectortest.Env(b, detectortest.Options{}), detector.Policy{Settings: s, Matcher: new(match.Matcher)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d
}

const busy = "while :; do :; done"

// The time of the kernel program for a sample, and its share of a CPU that computes, by what the
// kernel counts.
func BenchmarkSample(b *testing.B) {
	for _, rate := range []int{49, 97} {
		b.Run(fmt.Sprintf("%dHz", rate), func(b *testing.B) {
			d := load(b, rate)
			stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
			if err != nil {
				b.Fatal(err)
			}
			defer stats.Close()
			for range 2 {
				testutil.Start(b, exec.Command("/bin/sh", "-c", busy))
			}
			for b.Loop() {
				time.Sleep(3 * time.Second)
			}
			s, err := d.objs.Tick.Stats()
			if err != nil {
				b.Fatal(err)
			}
			sampled, lost, err := d.kernelCounts()
			if err != nil || sampled == 0 || lost > sampled/10 {
				b.Fatalf("%d samples, %d lost, %v", sampled, lost, err)
			}
			each := float64(s.Runtime) / float64(s.RunCount)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(each, "ns/sample")
			b.ReportMetric(each*float64(rate)/1e7, "%CPU")
		})
	}
}

// What a busy loop does with the clock and without, in turn.
func BenchmarkThroughput(b *testing.B) {
	count := func() (n float64) {
		for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); n++ {
			for i := range 1 << 12 {
				sink += i
			}
		}
		return n
	}
	d := load(b, 49)
	var ratios []float64
	for b.Loop() {
		d.clock.close()
		without := count()
		if err := d.clock.set(49); err != nil {
			b.Fatal(err)
		}
		ratios = append(ratios, count()/without)
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
	b.ReportMetric(ratios[len(ratios)-1]-ratios[0], "spread")
}

var sink int

// The search of all files of a program, for the first time and again.
func BenchmarkSearch(b *testing.B) {
	for _, name := range []string{"xmrig", "python3", "node"} {
		var cmd *exec.Cmd
		switch name {
		case "xmrig":
			root := testutil.Xmrig(b)
			cmd = exec.Command("chroot", root, "/usr/bin/xmrig", "-o", "127.0.0.1:9", "--algo", "cn/r", "--cpu-max-threads-hint", "1")
		case "python3":
			cmd = exec.Command("/usr/bin/python3", "-c", "input()")
		case "node":
			cmd = exec.Command("node", "-e", "setTimeout(() => {}, 1e6)")
		}
		stdin, err := cmd.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		defer stdin.Close()
		testutil.Start(b, cmd)
		time.Sleep(time.Second)
		for _, again := range []bool{false, true} {
			title := name + "/first"
			if again {
				title = name + "/again"
			}
			b.Run(title, func(b *testing.B) { benchmarkSearch(b, cmd.Process.Pid, again, name == "xmrig") })
		}
	}
}

func benchmarkSearch(b *testing.B, pid int, again, miner bool) {
	reader := procread.NewReader(detectortest.Env(b, detectortest.Options{}).Log)
	b.Cleanup(func() { _ = reader.Close() })
	h, err := process.Open(pid)
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	var bytes uint64
	e := new(examiner)
	search := func() {
		if !again || e.reader == nil {
			e = &examiner{reader: reader}
		}
		in, j := new(space), job{credit: newCredit(), state: new(state), policy: &policy{settings: Defaults()}}
		if err := reader.Mappings(context.Background(), h, "", in.add); err != nil {
			b.Fatal(err)
		}
		in.place(nil)
		found := false
		bytes = 0
		for _, f := range in.files() {
			counts, _, err := e.search(context.Background(), h, j, f)
			if err != nil {
				b.Fatal(err)
			}
			found = found || counts.Miner()
			bytes += size(f.ranges)
		}
		if found != miner {
			b.Fatalf("a miner: %v", found)
		}
	}
	search()
	for b.Loop() {
		search()
	}
	b.SetBytes(int64(bytes))
	b.ReportMetric(float64(bytes)/1e6, "MB")
}

// The CPU time of the agent's part while 50 processes compute.
func BenchmarkFiftyBusyProcesses(b *testing.B) {
	d := load(b, 49)
	detectortest.Run(b, d)
	for range 50 {
		testutil.Start(b, exec.Command("/usr/bin/python3", "-c", "while True: pass"))
	}
	time.Sleep(10 * time.Second) // their files are searched
	before, began := agentCPU(b), time.Now()
	for b.Loop() {
		time.Sleep(10 * time.Second)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*(agentCPU(b)-before).Seconds()/time.Since(began).Seconds(), "%CPU")
}

// agentCPU returns the CPU time of this process and of the children that read for it.
func agentCPU(b *testing.B) time.Duration {
	b.Helper()
	var own unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &own); err != nil {
		b.Fatal(err)
	}
	sum := time.Duration(own.Utime.Nano() + own.Stime.Nano())
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	if err != nil {
		b.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(children)) {
		comm, _ := os.ReadFile("/proc/" + pid + "/comm")
		if string(comm) != "cryptnono-reade\n" {
			continue
		}
		var n int
		if _, err := fmt.Sscan(pid, &n); err != nil {
			b.Fatal(err)
		}
		if info, _, err := process.Describe(n); err == nil {
			sum += info.CPU
		}
	}
	return sum
}
