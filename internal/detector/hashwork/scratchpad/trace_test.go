package scratchpad

import (
	"compress/gzip"
	"encoding/csv"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestRecordings(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			f := r.finding(r.samples)
			if got, want := f.Verdict(), recorded[name].verdict; got != want {
				t.Errorf("verdict %v, want %v", got, want)
			}
			if got, want := f.Unmasked(), recorded[name].unmasked; got != want {
				t.Errorf("unmasked walk: %v, want %v", got, want)
			}
			if got, want := f.MemoryHard(1000), recorded[name].memoryHard; got != want {
				t.Errorf("memory-hard hash: %v, want %v", got, want)
			}
			t.Log(f.LogValue())
		})
	}
}

// The evidence does not depend on the order of the samples, as long as all are kept.
func TestRecordingsInAnyOrder(t *testing.T) {
	for name, r := range recordings(t) {
		if r.finding(r.samples).Samples < len(r.samples) {
			continue // has threads that are not followed
		}
		want := r.finding(r.samples)
		for seed := range uint64(testutil.Thorough(20)) {
			order := rand.New(rand.NewPCG(seed, 1))
			shuffled := slices.Clone(r.samples)
			order.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := r.finding(shuffled); got != want {
				t.Errorf("%s, seed %d: %v, want %v", name, seed, got.LogValue(), want.LogValue())
			}
		}
	}
}

// A slower clock, a busy CPU and lost samples leave a part of the samples of a recording,
// which has 97 samples a second.
func TestRecordingsThinned(t *testing.T) {
	for name, r := range recordings(t) {
		t.Run(name, func(t *testing.T) {
			for _, rate := range []int{5, 19, 32, 49, 75, 97} {
				runs := testutil.Thorough(100)
				var n [3]int
				samples := 0
				for seed := range uint64(runs) {
					draw := rand.New(rand.NewPCG(seed, 2))
					var thinned []recordedSample
					for _, x := range r.samples {
						if draw.IntN(97) < rate {
							thinned = append(thinned, x)
						}
					}
					samples += len(thinned)
					n[r.finding(thinned).Verdict()]++
				}
				t.Logf("%d Hz, %d samples: none, observe, kill: %d", rate, samples/runs, n)
				miner := recorded[name].verdict
				if miner == None && n[None] < runs || miner == Observe && n[Kill] > 0 {
					t.Errorf("%d Hz: none, observe, kill: %d", rate, n)
				}
				if miner > None && rate >= 75 && n[None] > 1+runs/20 {
					t.Errorf("%d Hz: not found in %d of %d", rate, n[None], runs)
				}
			}
		})
	}
}

// A part of a recording is what there is when a process is judged for the first time.
func TestEachPartOfARecording(t *testing.T) {
	step := 16
	if testing.Short() {
		step *= 5
	}
	for name, r := range recordings(t) {
		for n := MinSamples; n <= len(r.samples); n += step {
			found, parts := 0, 0
			for from := 0; from+n <= len(r.samples); from += 8 {
				f := r.finding(r.samples[from : from+n])
				parts++
				if f.Verdict() > None {
					found++
				}
				if f.Verdict() > recorded[name].verdict || f.Unmasked() && !recorded[name].unmasked || f.MemoryHard(1000) && !recorded[name].memoryHard {
					t.Errorf("%s, from %d, %d samples: %v", name, from, n, f.LogValue())
				}
			}
			if n >= 208 && recorded[name].verdict > None && found < parts*4/5 {
				t.Errorf("%s, %d samples: found in %d of %d parts", name, n, found, parts)
			}
		}
	}
}

// recorded has the recordings that are not None. A wallet that was told to use 2,000 rounds
// computes CryptoNight too. libxcrypt takes new memory for each hash.
var recorded = map[string]struct {
	verdict    Verdict
	unmasked   bool
	memoryHard bool
}{
	"miner-xmrig-cn_r":             {verdict: Kill},
	"miner-xmrig-cn_2":             {verdict: Kill},
	"miner-xmrig-cn-heavy_xhv":     {verdict: Kill},
	"miner-xmrig-cn-pico":          {verdict: Kill},
	"miner-node-wasm-cn":           {verdict: Observe},
	"miner-evade-junk16":           {verdict: Kill},
	"miner-evade-mask-in-register": {unmasked: true},
	"miner-xmrig-argon2_chukwa":    {memoryHard: true},
	"honest-wallet-kdf":            {verdict: Observe},
	"honest-libxcrypt-yescrypt":    {memoryHard: true},
}

// A recording is the samples of a process, and for each line code with the instructions that
// were counted there.
type recording struct {
	samples []recordedSample
	code    map[uint64][]byte
}

type recordedSample struct {
	thread    int32
	ip        uint64
	registers []uint64
}

func (r recording) finding(samples []recordedSample) Finding {
	s := New(AMD64)
	for _, x := range samples {
		s.Add(x.thread, x.ip, x.registers)
	}
	return s.Judge(r.code)
}

// recordings returns the recordings in testdata by name.
func recordings(t *testing.T) map[string]recording {
	t.Helper()
	files, err := filepath.Glob("../testdata/scratchpad-traces/*.csv.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("looking for recordings: %d files, error %v", len(files), err)
	}
	all := make(map[string]recording)
	for _, file := range files {
		r, err := readRecording(file)
		if err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".csv.gz")] = r
	}
	return all
}

func readRecording(file string) (recording, error) {
	r := recording{code: make(map[uint64][]byte)}
	f, err := os.Open(file)
	if err != nil {
		return r, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return r, err
	}
	rows, err := csv.NewReader(plain).ReadAll()
	if err != nil {
		return r, err
	}
	for _, row := range rows[1:] {
		var n [24]uint64
		for i, text := range row {
			base := 10
			if i == 2 || i >= 8 {
				base = 16
			}
			if i == 3 { // class of memory
				continue
			}
			if n[i], err = strconv.ParseUint(text, base, 64); err != nil {
				return r, err
			}
		}
		x := recordedSample{thread: int32(n[1]), ip: n[2], registers: n[8:23]}
		r.samples = append(r.samples, x)
		// Where code changes, as that of cn/r, the newest counts, as when it is read later.
		r.code[x.ip&^(LineBytes-1)] = codeWith(AMD64, uint32(n[4]), min(int(n[5]), 12), n[6] > 0, n[7] > 0)
	}
	return r, nil
}
