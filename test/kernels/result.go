package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

// A result has the results for a kernel.
type result struct {
	image
	missing error // why it is not available, nil if it is

	full         bool // whether it also runs the tests that otherwise only longKernel runs
	took         time.Duration
	failed       map[column]bool
	passed       map[column]int // tests
	skipped      []string
	slow         []string // tests that took long, with their seconds
	steps        []step   // of all boots
	reads        string   // how the monero detector reads this kernel
	instructions map[string]int
	tricks       map[string]string // "LIVED of TRIES"
	again        []string          // packages with a step that was run a second time
	cached       bool              // whether a guest was not run, but had passed before
	ran          map[string]string // digests of the guests that were run, by where to keep them
	problems     []string
}

const (
	doctorStep  = "doctor"
	failureStep = "failure: "
)

// run boots the kernel and fills in the result.
func (r *result) run(ctx context.Context, files tree, o options) {
	began := time.Now()
	r.failed, r.passed = make(map[column]bool), make(map[column]int)
	r.instructions, r.tricks, r.ran = make(map[string]int), make(map[string]string), make(map[string]string)
	dir := filepath.Join(o.out, r.Name+"-"+r.Arch)
	steps, err := r.bootIfChanged(ctx, files, r.job(""), "", dir)
	if failed := failedTests(r.job(""), steps); len(failed.Steps) > 0 && len(failed.Steps) <= maxAgain {
		var second []step
		second, err = boot(ctx, r.image, files, failed, "", dir+"-again", io.Discard)
		steps = r.replace(steps, second)
	}
	r.take(steps, err, "")
	for _, cmdline := range r.otherBoots() {
		steps, err := r.bootIfChanged(ctx, files, r.job(cmdline), cmdline, dir+"-failure")
		r.take(steps, err, cmdline)
	}
	if err := r.keep(); err != nil {
		r.problems = append(r.problems, err.Error())
	}
	r.took = time.Since(began)
}

// maxAgain is the most steps of a kernel that are run a second time. Most tests wait for something, and
// a busy machine can be too slow for the emulation.
const maxAgain = 4

// failedTests returns the job with the steps of tests that failed or did not come to their end.
func failedTests(j job.Job, steps []step) job.Job {
	j.Steps = slices.DeleteFunc(slices.Clone(j.Steps), func(w job.Step) bool {
		_, notATest := strconv.Atoi(w.Name)
		return notATest != nil || slices.ContainsFunc(steps, func(s step) bool {
			return s.Step == w.Name && s.Kind == job.End && s.Status == 0 && s.Problem == ""
		})
	})
	return j
}

// replace returns the steps of a job, those of the second boot in place of those of the first.
func (r *result) replace(first, second []step) []step {
	all := make([]step, 0, len(first))
	for _, w := range r.job("").Steps {
		isIts := func(s step) bool { return s.Step == w.Name }
		i, j := slices.IndexFunc(first, isIts), slices.IndexFunc(second, isIts)
		switch {
		case j >= 0:
			all = append(all, second[j])
			n, _ := strconv.Atoi(w.Name)
			r.again = append(r.again, tests()[n].pkg)
		case i >= 0:
			all = append(all, first[i])
		default:
			all = append(all, step{Event: job.Event{Step: w.Name}})
		}
	}
	return all
}

// otherBoots returns the kernel parameters of the failures that need a separate boot.
func (r *result) otherBoots() []string {
	var all []string
	for _, f := range failures() {
		if r.Name == lockdownKernel && r.Arch == "amd64" && f.boot != "" && !slices.Contains(all, f.boot) {
			all = append(all, f.boot)
		}
	}
	return all
}

// job returns the job of a boot with given kernel parameters.
func (r *result) job(cmdline string) job.Job {
	j := job.Job{Env: environment()}
	if r.full {
		j.Env = append(j.Env, fmt.Sprintf("CRYPTNONO_TRIES=%d", tableTries))
	}
	if cmdline == "" {
		j.Steps = append(j.Steps, job.Step{Name: doctorStep, Args: []string{"/t/cryptnono", "doctor"}, LimitSeconds: 60})
		for i, t := range tests() {
			if t.on.isRun(r.kernel, r.full) {
				j.Steps = append(j.Steps, t.step(i, r.full))
			}
		}
	}
	for _, f := range failures() {
		if f.boot == cmdline && (r.full || r.Name == longKernel(r.Arch)) { // lockdownKernel is one
			j.Steps = append(j.Steps, job.Step{Name: failureStep + f.name, Args: f.args, LimitSeconds: 60})
		}
	}
	return j
}

// environment returns the environment variables of the steps.
func environment() []string {
	return []string{
		"PATH=/bin", "HOME=/tmp", "GOTRACEBACK=all",
		"CRYPTNONO_REQUIRE_ROOT=1", "CRYPTNONO_VICTIMS=/v", "CRYPTNONO_PROGRAM=/t/cryptnono",
		fmt.Sprintf("CRYPTNONO_SLOWDOWN=%d", slowdown),
	}
}

// limitSeconds is the time limit of a test binary.
const limitSeconds = 600

// step returns the step that runs the i-th of tests(), full or with the rounds of -test.short if this
// machine's kernel runs the tests as well.
func (t suiteOfTests) step(i int, full bool) job.Step {
	args := []string{"/t/" + filepath.Base(t.pkg) + ".test", "-test.v"}
	if t.run != "" {
		args = append(args, "-test.run="+t.run)
	}
	if t.skip != "" {
		args = append(args, "-test.skip="+t.skip)
	}
	if t.on == foreign && !full {
		args = append(args, "-test.short")
	}
	args = append(args, fmt.Sprintf("-test.timeout=%ds", limitSeconds))
	if t.swap {
		args = append([]string{"/init", "with-swap"}, args...)
	}
	return job.Step{Name: strconv.Itoa(i), Args: args, LimitSeconds: limitSeconds + 10}
}

// take adds the steps of a boot to the result. err is the error of the boot.
func (r *result) take(steps []step, err error, cmdline string) {
	if err != nil {
		r.problems = append(r.problems, err.Error())
	}
	r.steps = append(r.steps, steps...)
	want := r.job(cmdline).Steps
	for i, w := range want {
		if i >= len(steps) || steps[i].Kind != job.End {
			s := step{Event: job.Event{Step: w.Name, Problem: "it did not come to its end"}}
			if i < len(steps) {
				s.output = steps[i].output
			}
			r.takeStep(s)
			continue
		}
		r.takeStep(steps[i])
	}
}

func (r *result) takeStep(s step) {
	switch name, isFailure := strings.CutPrefix(s.Step, failureStep); {
	case s.Step == doctorStep:
		r.takeDoctor(s)
	case isFailure:
		r.takeFailure(name, s)
	default:
		i, _ := strconv.Atoi(s.Step)
		r.takeTests(tests()[i], s)
	}
}

var monero = regexp.MustCompile(`^ok +monero +loads in \d+ ms: (.*)$`)

func (r *result) takeDoctor(s step) {
	for _, line := range s.output {
		if m := monero.FindStringSubmatch(line); m != nil {
			r.reads = m[1]
		}
	}
	if s.Status != 0 || s.Problem != "" || r.reads != r.Reads {
		r.problem("doctor", s, fmt.Sprintf("the monero detector should read this kernel by %q", r.Reads))
	}
}

func (r *result) takeFailure(name string, s step) {
	i := slices.IndexFunc(failures(), func(f failure) bool { return f.name == name })
	says := failures()[i].says
	if s.Status != 1 || s.Problem != "" || !strings.Contains(strings.Join(s.output, "\n"), says) {
		r.failed[sentences] = true
		r.problem(name, s, fmt.Sprintf("status 1 and %q are wanted", says))
		return
	}
	r.passed[sentences]++
}

var (
	ended    = regexp.MustCompile(`^( *)--- (PASS|FAIL|SKIP): (\S+) \((\d+)\.\d+s\)`)
	verified = regexp.MustCompile(`verified instructions: (\S+) (\d+)$`)
	lived    = regexp.MustCompile(`trick: (.+): (\d+ of \d+) lived$`)
)

// takeTests adds the output of a test binary to the result. It is a failure if no test ran.
func (r *result) takeTests(t suiteOfTests, s step) {
	for _, line := range s.output {
		if m := verified.FindStringSubmatch(line); m != nil {
			r.instructions[m[1]], _ = strconv.Atoi(m[2])
		}
		if m := lived.FindStringSubmatch(line); m != nil {
			r.tricks[m[1]] = m[2]
		}
		m := ended.FindStringSubmatch(line)
		if m != nil && m[2] == "SKIP" {
			r.skipped = append(r.skipped, m[3])
		}
		const long = 10
		if m == nil || m[1] != "" {
			continue
		}
		if seconds, _ := strconv.Atoi(m[4]); seconds >= long {
			r.slow = append(r.slow, fmt.Sprintf("%s %d s", m[3], seconds))
		}
	}
	n := s.passed()
	r.passed[t.shows] += n
	if s.Status != 0 || s.Problem != "" || n == 0 {
		r.failed[t.shows] = true
		r.problem(t.pkg+" "+t.run, s, fmt.Sprintf("%d tests passed", n))
	}
}

// passed returns the number of passed tests in the output of a step.
func (s step) passed() int {
	n := 0
	for _, line := range s.output {
		if m := ended.FindStringSubmatch(line); m != nil && m[2] == "PASS" {
			n++
		}
	}
	return n
}

// problem records a failure of a step, with the end of its output.
func (r *result) problem(what string, s step, want string) {
	const tail = 60
	output := s.output[max(0, len(s.output)-tail):]
	r.problems = append(r.problems, fmt.Sprintf("%s: status %d %s: %s\n    %s", what, s.Status, s.Problem, want, strings.Join(output, "\n    ")))
}

// times returns the seconds of each package, of the agent, and of the rest, which is mostly the boots,
// the longest first, without those of less than a second.
func (r *result) times() string {
	const agent, rest = "the agent", "boots"
	seconds := map[string]float64{rest: r.took.Seconds()}
	for _, s := range r.steps {
		what := agent
		if i, err := strconv.Atoi(s.Step); err == nil {
			what = tests()[i].pkg
		}
		seconds[what] += s.Seconds
		seconds[rest] -= s.Seconds
	}
	var all []string
	for _, what := range slices.SortedFunc(maps.Keys(seconds), func(a, b string) int { return cmp.Compare(seconds[b], seconds[a]) }) {
		if seconds[what] >= 1 {
			all = append(all, fmt.Sprintf("%s %.0f s", what, seconds[what]))
		}
	}
	return strings.Join(all, ", ")
}

// untried is the cell for tests that were not run.
const untried = "-"

// works returns the cell of a column.
func (r *result) works(c column) string {
	switch {
	case r.failed[c]:
		return "no"
	case r.passed[c] > 0:
		return "yes"
	}
	return untried
}

// print writes a line for the kernel and its problems.
func (r *result) print(w io.Writer) {
	if r.missing != nil {
		fmt.Fprintf(w, "NOT AVAILABLE  %s on %s, so nothing was tested: %v\n", r.Name, r.Arch, r.missing)
		return
	}
	verdict, n := "ok  ", 0
	if len(r.problems) > 0 {
		verdict = "FAIL"
	}
	for _, passed := range r.passed {
		n += passed
	}
	took := fmt.Sprintf("in %3.0f s", r.took.Seconds())
	if r.cached {
		took = "(cached)"
	}
	fmt.Fprintf(w, "%s  %-6s %s  %-34s %3d tests %s; %s\n", verdict, r.Name, r.Arch, r.release, n, took, r.reads)
	if len(r.skipped) > 0 {
		fmt.Fprintf(w, "      skipped: %s\n", strings.Join(r.skipped, ", "))
	}
	if !r.cached {
		fmt.Fprintf(w, "      times: %s\n", r.times())
	}
	if len(r.slow) > 0 {
		fmt.Fprintf(w, "      slow: %s\n", strings.Join(r.slow, ", "))
	}
	if len(r.again) > 0 {
		fmt.Fprintf(w, "      run twice, since the first run failed: %s\n", strings.Join(r.again, ", "))
	}
	if r.note != "" {
		fmt.Fprintf(w, "      %s\n", r.note)
	}
	for _, p := range r.problems {
		fmt.Fprintf(w, "      %s\n", p)
	}
}
