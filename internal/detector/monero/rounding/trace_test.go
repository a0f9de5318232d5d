package rounding

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRecordings(t *testing.T) {
	for name, samples := range recordings(t) {
		want := None
		if strings.HasPrefix(name, "miner-") {
			want = Pattern
		}
		if strings.HasPrefix(name, "miner-cryptonight-") {
			want = JIT
		}
		t.Run(name, func(t *testing.T) {
			d := strongest(samples)
			if d.Rule != want {
				t.Errorf("decided %v, want %v: %v", d.Rule, want, d.LogValue())
			}
			if d.Rule != None {
				t.Logf("after %v: %v", d.Window, d.LogValue())
			}
		})
	}
}

// A miner with a part of the CPU, or on a slower one, gives fewer samples.
func TestRecordingsThinned(t *testing.T) {
	for name, samples := range recordings(t) {
		for _, every := range []int{2, 3, 5} {
			t.Run(fmt.Sprintf("%s, one of %d", name, every), func(t *testing.T) {
				var thinned []Sample
				for i := 0; i < len(samples); i += every {
					thinned = append(thinned, samples[i])
				}
				d := strongest(thinned)
				if mines := strings.HasPrefix(name, "miner-"); mines != (d.Rule != None) {
					t.Errorf("decided %v: %v", d.Rule, d.LogValue())
				}
			})
		}
	}
}

// The programs of a pod or of a test suite share a cgroup.
func TestEverySetOfLegitimateRecordingsInOneCgroupIsSpared(t *testing.T) {
	var legitimate [][]Sample
	for name, samples := range recordings(t) {
		if strings.HasPrefix(name, "honest-") {
			legitimate = append(legitimate, samples)
		}
	}
	for set := range 1 << len(legitimate) {
		var members [][]Sample
		for i, samples := range legitimate {
			if set&(1<<i) != 0 {
				members = append(members, samples)
			}
		}
		if d := strongest(merge(members...)); d.Rule != None {
			t.Errorf("%d recordings: %v", len(members), d.LogValue())
		}
	}
}

func TestMinerAmongLegitimateRecordingsIsFound(t *testing.T) {
	all := recordings(t)
	for name, want := range map[string]Rule{
		"miner-cryptonight-half-with-memory":    JIT,
		"miner-randomx-interpreter-with-memory": Pattern,
		"miner-randomx-light-jit-1thread-busy":  Pattern,
	} {
		d := strongest(merge(all[name], all["honest-testfloat-level2"], all["honest-cgal-epick"]))
		if d.Rule != want {
			t.Errorf("%s: decided %v, want %v", name, d.Rule, want)
		}
	}
}

// The recordings of these compiled miners have no code locations, so the test adds them.
func TestCompiledRandomXWithMemoryIsKilled(t *testing.T) {
	for name, samples := range recordings(t) {
		if !strings.HasPrefix(name, "miner-randomx-") || strings.Contains(name, "interpreter") {
			continue
		}
		directed := 0
		for i := range samples {
			if samples[i].Mode == 0 {
				continue
			}
			directed++
			if samples[i].Code = JITCode; directed%50 == 0 { // 2 %, see MinJIT
				samples[i].Code = FileCode
			}
		}
		if d := strongest(samples); d.Rule != JIT {
			t.Errorf("%s: decided %v", name, d.Rule)
		} else {
			t.Logf("%s: after %v", name, d.Window)
		}
	}
}

// merge returns the streams as one, in order of time, each with different threads.
func merge(streams ...[]Sample) []Sample {
	var all []Sample
	for i, stream := range streams {
		for _, x := range stream {
			x.Thread += uint64(i) << 32
			all = append(all, x)
		}
	}
	slices.SortStableFunc(all, func(a, b Sample) int { return cmp.Compare(a.At, b.At) })
	return all
}

// strongest returns the strongest decision, of equal ones the first.
func strongest(samples []Sample) Decision {
	var strongest Decision
	s := NewSubject(Defaults())
	for _, x := range samples {
		if d := s.Add(x); d.Rule > strongest.Rule {
			strongest = d
		}
	}
	return strongest
}

// recordings returns the recordings in testdata by name.
func recordings(t *testing.T) map[string][]Sample {
	t.Helper()
	files, err := filepath.Glob("../testdata/rounding-traces/*.csv.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("looking for recordings: %d files, error %v", len(files), err)
	}
	all := make(map[string][]Sample)
	for _, file := range files {
		samples, err := recording(file)
		if err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".csv.gz")] = samples
	}
	return all
}

func recording(file string) ([]Sample, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(plain).ReadAll()
	if err != nil {
		return nil, err
	}
	var samples []Sample
	for _, row := range rows[1:] {
		at, err1 := time.ParseDuration(row[0] + "s")
		thread, err2 := strconv.ParseUint(row[1], 10, 32)
		cpu, err3 := time.ParseDuration(row[2] + "s")
		mode, err4 := strconv.ParseUint(row[3], 10, 2)
		for _, err := range []error{err1, err2, err3, err4} {
			if err != nil {
				return nil, err
			}
		}
		memory := map[string]Code{"a": JITCode, "f": FileCode}[row[4]]
		samples = append(samples, Sample{thread + 1, cpu, at, uint8(mode), memory})
	}
	return samples, nil
}
