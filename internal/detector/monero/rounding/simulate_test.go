package rounding

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

const ms = time.Millisecond

func TestSimulatedMinersAreFound(t *testing.T) {
	rates := []struct {
		name    string
		threads int
		period  time.Duration
		share   float64
		lives   int
		kill    time.Duration // within which rule J must match
		suspect time.Duration // within which rule P must match
	}{
		{"a tenth of a CPU, 4 samples a second", 1, 25 * ms, .1, 0, 30 * time.Second, 90 * time.Second},
		{"a tenth of a CPU for 8 threads, 4 samples a second", 8, 25 * ms, .0125, 0, 60 * time.Second, 10 * time.Minute},
		{"a twentieth of a CPU, 1 sample a second", 1, 50 * ms, .05, 0, 2 * time.Minute, 10 * time.Minute},
		{"an idle core, 4 samples a second", 1, 250 * ms, 1, 0, 30 * time.Second, 40 * time.Second},
		{"half of a busy core, 40 samples a second", 1, 12 * ms, .5, 0, 5 * time.Second, 15 * time.Second},
		{"5 busy cores, 400 samples a second", 5, 12 * ms, 1, 0, 3 * time.Second, 8 * time.Second},
		{"2 threads that are replaced each second", 2, 12 * ms, .5, 40, 5 * time.Second, time.Minute},
	}
	for name, miner := range map[string]struct {
		runs func(*rand.Rand) program
		want Rule
	}{
		"compiled RandomX":        {draws(randomX, JITCode), JIT},
		"CryptoNight in one mode": {draws(cryptonight, JITCode), JIT},
		"RandomX in unknown code": {draws(randomX, UnknownCode), Pattern},
		"interpreted RandomX":     {interpreter(20 * ms), Pattern},
	} {
		for _, rate := range rates {
			within := rate.kill
			if miner.want == Pattern {
				within = rate.suspect
			}
			for sampled, clock := range clocks {
				t.Run(fmt.Sprintf("%s with %s by %s", name, rate.name, sampled), func(t *testing.T) {
					t.Parallel()
					l := load{times(rate.threads, miner.runs), clock, rate.period, rate.share, rate.lives}
					var slowest time.Duration
					for seed := range uint64(testutil.Thorough(20)) {
						d, after := l.run(seed, within)
						if d.Rule != miner.want {
							t.Errorf("seed %d: decided %v", seed, d.LogValue())
						}
						slowest = max(slowest, after)
					}
					t.Logf("%s: at the latest after %v", t.Name(), slowest.Round(ms))
				})
			}
		}
	}
}

// The rules are applied again with each sample, for as long as a program runs.
func TestSimulatedLegitimateProgramsAreSparedAllDay(t *testing.T) {
	for _, rate := range []struct {
		name   string
		period time.Duration
		lasts  time.Duration
	}{
		{"4 samples a second", 250 * ms, 24 * time.Hour},
		{"20 samples a second", 50 * ms, time.Hour},
		{"80 samples a second", 12 * ms, 20 * time.Minute},
	} {
		lasts := rate.lasts / 20 * time.Duration(testutil.Thorough(20))
		if testing.Short() {
			lasts /= 4
		}
		legitimate := map[string]func(*rand.Rand) program{
			"always upward":        draws([4]float64{0, 0, 1, 0}, FileCode),
			"up and down":          draws([4]float64{0, .5, .5, 0}, FileCode),
			"up, down and nearest": draws([4]float64{.4, .3, .3, 0}, FileCode),
			"toward zero":          draws([4]float64{.4, 0, 0, .6}, FileCode),
			"CGAL":                 draws([4]float64{.85, 0, .15, 0}, FileCode),
			"compiled at run time, at times up and down": draws([4]float64{.7, .15, .15, 0}, JITCode),
			"cycle of holds of 5 s":                      cycle(exactly(5 * time.Second)),
			"cycle of holds of 4 samples":                cycle(exactly(4 * rate.period)),
			"holds of about 4 samples in any order":      wander(about(4 * rate.period)),
		}
		if rate.period <= 50*ms {
			legitimate["test suite in order"] = cycle(asTests)
			legitimate["test suite in any order"] = wander(asTests)
		}
		for name, runs := range legitimate {
			for sampled, clock := range clocks {
				t.Run(fmt.Sprintf("%s, %s by %s", name, rate.name, sampled), func(t *testing.T) {
					t.Parallel()
					l := load{times(1, runs), clock, rate.period, 1, 0}
					if d, _ := l.run(1, lasts); d.Rule != None {
						t.Errorf("decided %v", d.LogValue())
					}
				})
			}
		}
	}
}

func TestCycleInLockStepWithTheSamplerIsSpared(t *testing.T) {
	for _, hold := range []time.Duration{1 * ms, 3 * ms, 4 * ms, 6 * ms, 12 * ms, 24 * ms, 36 * ms} {
		l := load{times(1, cycle(exactly(hold))), clocks["a steady clock"], 12 * ms, 1, 0}
		if d, _ := l.run(1, time.Duration(testutil.Thorough(20))*30*time.Second); d.Rule != None {
			t.Errorf("holds of %v: decided %v", hold, d.LogValue())
		}
	}
}

// A limit of rule P. Such programs are only suspected, not killed.
func TestProgramThatChangesModesFasterThanItIsSampledIsSuspected(t *testing.T) {
	for _, period := range []time.Duration{12 * ms, 50 * ms, 250 * ms} {
		l := load{times(1, wander(about(period/10))), clocks["scheduler ticks"], period, 1, 0}
		if d, _ := l.run(1, 10*time.Minute); d.Rule != Pattern {
			t.Errorf("sampled each %v: decided %v", period, d.LogValue())
		}
	}
}

// A limit of rule J.
func TestProgramCompiledAtRunTimeThatRoundsUpwardIsKilled(t *testing.T) {
	for share, want := range map[float64]Rule{.3: None, .8: JIT} {
		runs := draws([4]float64{1 - share, 0, share, 0}, JITCode)
		l := load{times(1, runs), clocks["chance"], 12 * ms, 1, 0}
		if d, _ := l.run(1, 10*time.Minute); d.Rule != want {
			t.Errorf("%v of the time: decided %v, want %v", share, d.LogValue(), want)
		}
	}
}

// The short-lived programs of a build or a test run share a cgroup.
func TestSimulatedLegitimateCgroupsAreSpared(t *testing.T) {
	legitimate := []func(*rand.Rand) program{
		draws([4]float64{.85, 0, .15, 0}, FileCode),
		draws([4]float64{.58, .2, .22, 0}, FileCode),
		draws([4]float64{.4, .3, .3, 0}, FileCode),
		draws([4]float64{.4, .3, 0, .3}, FileCode),
		draws([4]float64{.4, 0, .3, .3}, FileCode),
		draws([4]float64{0, .5, .5, 0}, FileCode),
		draws([4]float64{.5, .5, 0, 0}, FileCode),
		draws([4]float64{.5, 0, .5, 0}, FileCode),
		draws([4]float64{.5, 0, 0, .5}, FileCode),
		draws([4]float64{1, 0, 0, 0}, JITCode),
		wander(asTests),
	}
	lives := []int{0, 1, 2, 5, 10, 20, 40, 100}
	for seed := range uint64(testutil.Thorough(400)) {
		r := rand.New(rand.NewPCG(seed, 2))
		l := load{clock: clocks["chance"], period: 25 * ms, share: 1, lives: lives[r.IntN(len(lives))]}
		if seed%2 == 0 {
			l.clock = clocks["scheduler ticks"]
		}
		for range 2 + r.IntN(5) {
			l.programs = append(l.programs, legitimate[r.IntN(len(legitimate))])
		}
		if d, _ := l.run(seed, time.Minute); d.Rule != None {
			t.Errorf("seed %d, %d samples a life: decided %v", seed, l.lives, d.LogValue())
		}
	}
}

func TestMinerAmongBusyThreadsIsFound(t *testing.T) {
	for code, want := range map[Code]Rule{JITCode: JIT, FileCode: Pattern} {
		busy := times(40, draws([4]float64{1, 0, 0, 0}, FileCode))
		l := load{append(busy, draws(randomX, code)), clocks["chance"], 25 * ms, .5, 0}
		if d, _ := l.run(1, 30*time.Second); d.Rule != want || d.Thread == 0 {
			t.Errorf("decided %v, want %v by one thread", d.LogValue(), want)
		}
	}
}
