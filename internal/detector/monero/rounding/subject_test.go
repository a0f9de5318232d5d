package rounding

import (
	"bytes"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// feed adds n samples of a thread, 20 ms apart, and returns the last decision.
func feed(s *Subject, n int, x Sample) Decision {
	var d Decision
	for i := range n {
		at := x
		at.CPU += time.Duration(i) * 20 * ms
		at.At += time.Duration(i) * 20 * ms
		d = s.Add(at)
	}
	return d
}

func TestRuleJ(t *testing.T) {
	jit := Sample{Thread: 1, Mode: 2, Code: JITCode}
	file := Sample{Thread: 2, Mode: 2, Code: FileCode}
	nearest := Sample{Thread: 3, Mode: 0, Code: JITCode}
	type batch struct {
		n int
		x Sample
	}
	for _, c := range []struct {
		name    string
		batches []batch
		want    Rule
	}{
		{"63 samples are too few", []batch{{63, jit}}, None},
		{"64 samples are enough", []batch{{64, jit}}, JIT},
		{"half of the samples in the nearest mode are not too many", []batch{{50, nearest}, {50, jit}}, JIT},
		{"more than half are", []batch{{51, nearest}, {50, jit}}, None},
		{"a fifth of the directed samples may lie in a file", []batch{{15, file}, {60, jit}}, JIT},
		{"no more than a fifth may", []batch{{16, file}, {60, jit}}, None},
		{"unknown code is no evidence", []batch{{100, Sample{Thread: 1, Mode: 2}}}, None},
		{"threads are summed", []batch{{32, jit}, {32, Sample{Thread: 4, Mode: 1, Code: JITCode}}}, JIT},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSubject(Defaults())
			var d Decision
			for _, b := range c.batches {
				d = feed(s, b.n, b.x)
			}
			if d.Rule != c.want {
				t.Errorf("decided %v, want %v", d.LogValue(), c.want)
			}
		})
	}
}

func TestSamplesTooSoonAreIgnored(t *testing.T) {
	s := NewSubject(Defaults())
	x := Sample{Thread: 1, Mode: 2, Code: JITCode}
	for range 1000 {
		x.CPU += 9 * ms
		x.At += 9 * ms
		s.Add(x)
	}
	x.CPU += 10 * ms
	if d := s.Add(x); d.Samples != 501 {
		t.Errorf("%d samples count, want every other and the last: 501", d.Samples)
	}
}

func TestSamplesLeaveTheWindow(t *testing.T) {
	x := Sample{Thread: 1, Mode: 2, Code: JITCode}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{
		{100 * time.Second, 64}, // within 7/8 of the window
		{120 * time.Second, 1},
		{1000 * time.Hour, 1},
	} {
		s := NewSubject(Defaults())
		feed(s, 63, x)
		later := x
		later.At, later.CPU = x.At+c.after, time.Hour
		if d := s.Add(later); d.Samples != c.want {
			t.Errorf("after %v %d samples count, want %d", c.after, d.Samples, c.want)
		}
	}
}

func TestPairsAreOfOneThread(t *testing.T) {
	s := NewSubject(Defaults())
	var x [4]Sample
	for i := range 400 {
		mode := i % 4
		x[mode] = Sample{Thread: uint64(mode + 1), Mode: uint8(mode), At: x[mode].At + 20*ms, CPU: x[mode].CPU + 20*ms}
		s.Add(x[mode])
	}
	for mode, sample := range x {
		c := s.threads[sample.Thread].sum()
		if c.near[mode][mode] != 99 || newPattern(&c.near).pairs != 99 {
			t.Errorf("thread in mode %d has pairs %v", mode, c.near)
		}
	}
}

func TestPairsAreNeitherTooCloseNorTooFarApart(t *testing.T) {
	for _, c := range []struct {
		name      string
		cpu, wall time.Duration
		near, far int
	}{
		{"little CPU time apart", 39 * ms, 39 * ms, 1, 0},
		{"much CPU time apart", 40 * ms, 40 * ms, 0, 1},
		{"little CPU time in 10 s", 39 * ms, 10 * time.Second, 1, 0},
		{"much CPU time in 10 s", 40 * ms, 10 * time.Second, 0, 1},
		{"little CPU time in 11 s", 39 * ms, 11 * time.Second, 0, 0},
		{"much CPU time in 11 s", 40 * ms, 11 * time.Second, 0, 0},
	} {
		s := NewSubject(Defaults())
		x := Sample{Thread: 1}
		s.Add(x)
		x.CPU, x.At = c.cpu, c.wall
		s.Add(x)
		sum := s.threads[1].sum()
		if near, far := newPattern(&sum.near).pairs, newPattern(&sum.far).pairs; near != c.near || far != c.far {
			t.Errorf("%s: %d near and %d far pairs, want %d and %d", c.name, near, far, c.near, c.far)
		}
	}
}

func TestAReusedKeyIsANewThread(t *testing.T) {
	s := NewSubject(Defaults())
	feed(s, 50, Sample{Thread: 1, CPU: time.Hour, Mode: 1})
	s.Add(Sample{Thread: 1, At: time.Second, CPU: ms, Mode: 2})
	c := s.threads[1].sum()
	if c.samples() != 1 || newPattern(&c.near).pairs+newPattern(&c.far).pairs != 0 {
		t.Errorf("the new thread has %+v", c)
	}
}

func TestThreadsBeyondTheBoundCountForRuleJ(t *testing.T) {
	s := NewSubject(Defaults())
	most := s.thresholds.MaxThreads
	var d Decision
	for i := range most + 2000 {
		d = s.Add(Sample{Thread: uint64(i + 1), Mode: 1, Code: JITCode})
	}
	if len(s.threads) != most || d.Samples != most+2000 || d.Rule != JIT {
		t.Errorf("%d threads of %d are tracked; decided %v", len(s.threads), most, d.LogValue())
	}
}

func TestIdleThreadsAreEvicted(t *testing.T) {
	s := NewSubject(Defaults())
	for i := range s.thresholds.MaxThreads {
		s.Add(Sample{Thread: uint64(i + 1)})
	}
	x := Sample{Thread: 1 << 40, At: s.thresholds.Window / slots}
	s.Add(x)
	if s.threads[x.Thread] == nil || len(s.threads) != 1 {
		t.Errorf("%d threads remain", len(s.threads))
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	s := NewSubject(Defaults())
	s.Add(Sample{Thread: 1, At: time.Hour})
	for _, at := range []time.Duration{0, -time.Hour, math.MinInt64} {
		if d := s.Add(Sample{Thread: 2, At: at}); d.Window != 0 {
			t.Errorf("at %v the window is %v", at, d.Window)
		}
	}
}

func TestSubjectIsIdleOnceItsWindowIsEmpty(t *testing.T) {
	s := NewSubject(Defaults())
	s.Add(Sample{Thread: 1, At: time.Hour})
	if s.Idle(time.Hour + 120*time.Second) {
		t.Error("idle at the end of the window")
	}
	if !s.Idle(time.Hour + 121*time.Second) {
		t.Error("not idle after the window")
	}
}

func TestDecisionInTheLog(t *testing.T) {
	s := NewSubject(Defaults())
	d := feed(s, 64, Sample{Thread: 7, Mode: 2, Code: JITCode})
	var line bytes.Buffer
	slog.New(slog.NewJSONHandler(&line, nil)).Info("found", "evidence", d)
	want := `"evidence":{"rule":"jit","thread":0,"window":1260000000,"samples":64,"modes":[0,0,1,0],"known":64,"jit":1,` +
		`"pairs":0,"uniform_chi2":0,"independent_chi2":0,"repeat_share":0}`
	if !strings.Contains(line.String(), want) {
		t.Errorf("logged %s, want it to hold %s", line.String(), want)
	}
}

func TestSizesAreAsDocumented(t *testing.T) {
	if size := unsafe.Sizeof(Subject{}); size > 1500 {
		t.Errorf("a subject takes %d bytes", size)
	}
	if size := unsafe.Sizeof(thread{}); size > 1500 {
		t.Errorf("a thread takes %d bytes", size)
	}
}

func BenchmarkAdd(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	s := NewSubject(Defaults())
	mine := draws(randomX, FileCode)(r)
	x := Sample{Thread: 1}
	for b.Loop() {
		x.CPU += 12 * ms
		x.At += 24 * ms
		x.Mode, x.Code = mine(x.CPU)
		s.Add(x)
	}
}
