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
			d := gravest(samples)
			if d.Rule != want {
				t.Errorf("decided %v, want %v: %v", d.Rule, want, d.LogValue())
			}
			if d.Rule != None {
				t.Logf("after %v: %v", d.Window, d.LogValue())
			}
		})
	}
}

// A miner that gets a part of the CPU, or a slower one, gives fewer samples.
func TestRecordingsThinned(t *testing.T) {
	for name, samples := range recordings(t) {
		for _, every := range []int{2, 3, 5} {
			t.Run(fmt.Sprintf("%s, one of %d", name, every), func(t *testing.T) {
				var thinned []Sample
				for i := 0; i < len(samples); i += every {
					thinned = append(thinned, samples[i])
				}
				d := gravest(thinned)
				if mines := strings.HasPrefix(name, "miner-"); mines != (d.Rule != None) {
					t.Errorf("decided %v: %v", d.Rule, d.LogValue())
				}
			})
		}
	}
}

// Programs of one pod, or of one test suite, come in one cgroup.
func TestEverySetOfHonestRecordingsInOneCgroupIsSpared(t *testing.T) {
	var honest [][]Sample
	for name, samples := range recordings(t) {
		if strings.HasPrefix(name, "honest-") {
			honest = append(honest, samples)
		}
	}
	for set := range 1 << len(honest) {
		var members [][]Sample
		for i, samples := range honest {
			if set&(1<<i) != 0 {
				members = append(members, samples)
			}
		}
		if d := gravest(merge(members...)); d.Rule != None {
			t.Errorf("%d recordings: %v", len(members), d.LogValue())
		}
	}
}

func TestMinerAmongHonestRecordingsIsFound(t *testing.T) {
	all := recordings(t)
	for name, want := range map[string]Rule{
		"miner-cryptonight-half-with-memory":    JIT,
		"miner-randomx-interpreter-with-memory": Pattern,
		"miner-randomx-light-jit-1thread-busy":  Pattern,
	} {
		d := gravest(merge(all[name], all["honest-testfloat-level2"], all["honest-cgal-epick"]))
		if d.Rule != want {
			t.Errorf("%s: decided %v, want %v", name, d.Rule, want)
		}
	}
}

// These miners run compiled; what was not recorded is put in.
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
			if samples[i].Memory = AnonymousMemory; directed%50 == 0 { // the 2 %
				samples[i].Memory = FileMemory
			}
		}
		if d := gravest(samples); d.Rule != JIT {
			t.Errorf("%s: decided %v", name, d.Rule)
		} else {
			t.Logf("%s: after %v", name, d.Window)
		}
	}
}

// merge returns the streams as one, in order of time, each with threads of its
// own.
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

// gravest returns the first of the gravest decisions about the samples.
func gravest(samples []Sample) Decision {
	var gravest Decision
	s := NewSubject(Defaults())
	for _, x := range samples {
		if d := s.Add(x); d.Rule > gravest.Rule {
			gravest = d
		}
	}
	return gravest
}

// recordings reads testdata.
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
		memory := map[string]Memory{"a": AnonymousMemory, "f": FileMemory}[row[4]]
		samples = append(samples, Sample{thread + 1, cpu, at, uint8(mode), memory})
	}
	return samples, nil
}
