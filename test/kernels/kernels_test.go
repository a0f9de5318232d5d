package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/kernels/job"
)

const root = "../.."

func TestTheNewestReleaseOfALineComesFirst(t *testing.T) {
	names := []string{
		"linux-image-6.12-cloud-amd64", // a package that depends on one of the others
		"linux-image-6.12.9+deb13-cloud-amd64",
		"linux-image-6.12.115+deb13-cloud-amd64",
		"linux-image-6.12.115+deb13.1-cloud-amd64",
		"linux-image-6.12.115+deb13-cloud-amd64-unsigned",
		"linux-image-6.12.116+deb13-amd64",
		"linux-image-6.1.0-56-cloud-amd64",
		"linux-image-6.1.0-9-cloud-amd64",
		"linux-image-cloud-amd64",
	}
	for _, c := range []struct {
		prefix string
		want   []string
	}{
		{"6.12.", []string{"6.12.115+deb13.1-cloud-amd64", "6.12.115+deb13-cloud-amd64", "6.12.9+deb13-cloud-amd64"}},
		{"6.1.", []string{"6.1.0-56-cloud-amd64", "6.1.0-9-cloud-amd64"}},
		{"5.10.", nil},
	} {
		if got := (kernel{Arch: "amd64", Prefix: c.prefix}).releases(names); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.prefix, got, c.want)
		}
	}
	if got := (kernel{Arch: "amd64"}).releases(names); len(got) == 0 || got[0] != "6.12.115+deb13.1-cloud-amd64" {
		t.Errorf("the newest of all: got %q", got)
	}
}

// Each package with privileged tests must be in the plan.
func TestEveryPackageThatLoadsProgramsIsRun(t *testing.T) {
	elsewhere := map[string]string{
		"internal/runtimes":      "needs container runtimes, and loads no program",
		"internal/host":          "needs unshare and a shell, and loads no program",
		"internal/evidence":      "reads what procread and the inventory give, whose tests are run, and loads no program",
		"cmd/cryptnono-selftest": "is the self-test, which the acceptance tests run",
		"internal/testutil":      "is what the others are made with",
		"test/attacks":           "needs real servers and miners, and minutes of several processors",
		"packaging/tests":        "is about the packages and the image",
		"charts/tests":           "is about the chart",
	}
	listed := make(map[string]bool)
	for _, s := range tests() {
		listed[s.pkg] = true
	}
	found := 0
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		pkg, _ := filepath.Rel(root, filepath.Dir(path))
		if err == nil && bytes.Contains(text, []byte("testutil.Privileged(")) && pkg != "test/kernels" {
			found++
			if _, excused := elsewhere[pkg]; !excused && !listed[pkg] {
				t.Errorf("%s has tests that need root, but is not in plan.go", pkg)
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("%v, with %d files of privileged tests", err, found)
	}
}

func TestOnlySelectsKernels(t *testing.T) {
	for _, c := range []struct {
		only string
		full bool
		want int
	}{
		{"", false, len(kernels()) - 2}, // two are run seldom
		{"", true, len(kernels())},
		{"^5.10/arm64$", false, 1},
		{"/arm64$", false, 4},
		{"^5.9/", true, 0},
	} {
		o := options{only: regexp.MustCompile(c.only), full: c.full}
		got := 0
		for _, k := range kernels() {
			if o.selects(k) {
				got++
			}
		}
		if got != c.want {
			t.Errorf("%q selects %d kernels, want %d", c.only, got, c.want)
		}
		if err := judge(io.Discard, nil, o); err == nil {
			t.Errorf("%q: a run without a kernel is no failure", c.only)
		}
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// A guest fails if a step has no test, but minutes later.
func TestEachStepHasTests(t *testing.T) {
	for _, s := range tests() {
		files, err := filepath.Glob(filepath.Join(root, s.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		run, _, _ := strings.Cut(s.run, "/")
		selected := 0
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
				if regexp.MustCompile(run).MatchString(m[1]) && (s.skip == "" || !regexp.MustCompile(s.skip).MatchString(m[1])) {
					selected++
				}
			}
		}
		if selected == 0 {
			t.Errorf("%s has no test for %q without %q", s.pkg, s.run, s.skip)
		}
	}
}

func TestLongGuestsAreStartedFirst(t *testing.T) {
	var all []*result
	for _, k := range kernels() {
		all = append(all, &result{image: image{kernel: k}})
	}
	sorted := longestFirst(all)
	first, last := sorted[0], sorted[len(sorted)-1]
	if len(sorted) != len(all) || len(first.job("").Steps) <= len(last.job("").Steps) {
		t.Errorf("%d guests, the first has %d steps, the last %d", len(sorted), len(first.job("").Steps), len(last.job("").Steps))
	}
}

// What this machine's kernel runs in full has fewer rounds in a guest, and nothing else has.
func TestOnlyForeignTestsAreShort(t *testing.T) {
	short := 0
	for i, s := range tests() {
		isShort := slices.Contains(s.step(i, false).Args, "-test.short")
		if isShort != (s.on == foreign) || slices.Contains(s.step(i, true).Args, "-test.short") {
			t.Errorf("%s %s: short is %v", s.pkg, s.run, isShort)
		}
		if isShort {
			short++
		}
	}
	if short == 0 {
		t.Error("no step is short")
	}
}

func TestTheTimesOfAGuestAreThoseOfItsSteps(t *testing.T) {
	i := slices.IndexFunc(tests(), func(s suiteOfTests) bool { return s.pkg == "internal/exempt" })
	r := newResult()
	r.took = 20 * time.Second
	for _, e := range []job.Event{
		{Step: doctorStep, Seconds: 3}, {Step: failureStep + "x", Seconds: 2}, {Step: strconv.Itoa(i), Seconds: 4},
		{Step: strconv.Itoa(i + 1), Seconds: 4}, {Step: "0", Seconds: 0.4},
	} {
		r.take([]step{{Event: e}}, nil, "")
	}
	if want := "internal/exempt 8 s, boots 7 s, the agent 5 s"; r.times() != want {
		t.Errorf("got %q, want %q", r.times(), want)
	}
}

func TestAGuestsFilesAreAnArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := (tree{"/a/b/file": file, "/proc/": ""}).write(&b); err != nil {
		t.Fatal(err)
	}
	var names []string
	for at := b.Bytes(); len(at) >= 110; {
		var n [13]int
		for i := range n {
			for _, c := range at[6+8*i : 14+8*i] {
				n[i] = n[i]<<4 | strings.IndexByte("0123456789ABCDEF", c)
			}
		}
		size, length := n[6], n[11]
		names = append(names, string(at[110:110+length-1]))
		text := at[(110+length+3)&^3:]
		if strings.HasSuffix(names[len(names)-1], "file") && (string(text[:size]) != "hello" || n[1] != 0o100755) {
			t.Errorf("the file is %q with mode %o", text[:size], n[1])
		}
		at = text[(size+3)&^3:]
	}
	if want := []string{"a", "a/b", "a/b/file", "proc", "TRAILER!!!"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

func TestAConsoleIsReadWithAllElseThatStandsInIt(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("[    0.1] a message of the kernel\r\n")
	for _, e := range []job.Event{{Kind: job.Begin, Step: "a"}, {Kind: job.End, Step: "a", Status: 3}, {Kind: job.Begin, Step: "b"}} {
		if err := job.WriteEvent(&b, e); err != nil {
			t.Fatal(err)
		}
		b.WriteString("[    0.2] another\r\n")
	}
	for _, line := range []string{"=== RUN   TestX", `@event {"Kind":"done"}`} { // what a step prints
		if err := job.WriteOutput(&b, line); err != nil {
			t.Fatal(err)
		}
	}
	var shown bytes.Buffer
	steps, done, err := readConsole(&b, &shown)
	if err != nil || done || len(steps) != 2 || steps[0].Status != 3 || steps[1].Kind != job.Begin || len(steps[1].output) != 2 {
		t.Errorf("%v, done %v, %+v", err, done, steps)
	}
	if want := `@event {"Kind":"done"}` + "\n"; shown.String() != want {
		t.Errorf("shown is %q, want %q", &shown, want)
	}
}

func newResult() *result {
	return &result{
		image:        image{kernel: kernel{Name: "6.1", Arch: "amd64"}, release: "6.1.0-2"},
		failed:       make(map[column]bool),
		passed:       make(map[column]int),
		instructions: make(map[string]int),
		tricks:       make(map[string]string),
		ran:          make(map[string]string),
	}
}

func TestNothingRunIsNoSuccess(t *testing.T) {
	s := suiteOfTests{pkg: "internal/x", shows: execs}
	passed := []string{"    x_test.go:1: verified instructions: x/y 123", "--- PASS: TestX (0.1s)"}
	for _, c := range []struct {
		name   string
		step   step
		works  string
		faults int
	}{
		{"tests that pass", step{output: passed}, "yes", 0},
		{"no test at all", step{output: []string{"PASS"}}, "no", 1},
		{"a test that is skipped", step{output: []string{"--- SKIP: TestX (0s)"}}, "no", 1},
		{"a test that fails", step{Event: job.Event{Status: 1}, output: append(passed, "--- FAIL: TestY")}, "no", 1},
		{"a step that was killed", step{Event: job.Event{Problem: "killed"}, output: passed}, "no", 1},
	} {
		r := newResult()
		r.takeTests(s, c.step)
		if got := r.works(execs); got != c.works || len(r.problems) != c.faults {
			t.Errorf("%s: %q, with problems %q", c.name, got, r.problems)
		}
	}
	r := newResult()
	r.takeTests(s, step{output: passed})
	if r.instructions["x/y"] != 123 || r.works(scans) != untried {
		t.Errorf("%+v", r)
	}
}

func TestACrashFailsAllThatWasToCome(t *testing.T) {
	r := newResult()
	r.take([]step{{Event: job.Event{Kind: job.Begin, Step: doctorStep}}}, errors.New("panic"), "")
	for _, c := range columns() {
		if got := r.works(c); got == "yes" {
			t.Errorf("%s: %s", c, got)
		}
	}
	if len(r.problems) < len(tests())/2 {
		t.Errorf("only %d problems", len(r.problems))
	}
}

func TestWhatFailedIsRunASecondTime(t *testing.T) {
	r := newResult()
	j := r.job("")
	steps := make([]step, 0, len(j.Steps))
	for _, s := range j.Steps {
		steps = append(steps, step{Event: job.Event{Kind: job.End, Step: s.Name}, output: []string{"--- PASS: TestX (0.1s)"}})
	}
	const failed, killed = 2, 3
	steps[failed].Status = 1
	steps[killed].Problem = "killed"
	lost := steps[len(steps)-1]
	names := func(j job.Job) (all []string) {
		for _, s := range j.Steps {
			all = append(all, s.Name)
		}
		return all
	}
	again := failedTests(j, steps)
	want := []string{steps[failed].Step, steps[killed].Step}
	if got := names(again); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := names(failedTests(j, steps[:1])); len(got) < len(j.Steps)/2 {
		t.Errorf("after a crash only %q", got)
	}
	second := []step{{Event: job.Event{Kind: job.End, Step: want[0]}}, {Event: job.Event{Kind: job.End, Step: want[1], Status: 1}}}
	all := r.replace(steps[:len(steps)-1], second)
	if len(all) != len(steps) || all[failed].Status != 0 || all[killed].Status != 1 || all[killed].Problem != "" ||
		all[len(all)-1].Step != lost.Step || all[len(all)-1].Kind == job.End || len(r.again) != len(want) {
		t.Errorf("%+v, again: %q", all, r.again)
	}
}

func TestTheTableMustNotClaimWhatWasNotSeen(t *testing.T) {
	r, tb := newResult(), worksTable()
	r.reads = "MXCSR"
	r.passed[execs] = 1
	r.failed[modes] = true
	claimed := tb.row(r)
	claimed[tb.free] = "6.1.0-1"
	if d := tb.differences([]row{claimed}, []*result{r}); d != nil {
		t.Errorf("another patch release is no difference, but: %q", d)
	}
	for c := range claimed {
		if seen := tb.row(r)[c]; c < 2 || c == tb.free || seen == untried {
			continue
		}
		other := slices.Clone(claimed)
		other[c] = "something else"
		if d := tb.differences([]row{other}, []*result{r}); len(d) != 1 || !strings.Contains(d[0], tb.header[c]) {
			t.Errorf("a claim in column %q: %q", tb.header[c], d)
		}
	}
	if d := tb.differences(nil, []*result{r}); len(d) != 1 {
		t.Errorf("a kernel without a line: %q", d)
	}
	if d := tb.differences(nil, []*result{{missing: errGone}}); d != nil {
		t.Errorf("a kernel that cannot be had: %q", d)
	}
}

func TestATrickThatWorksIsADifference(t *testing.T) {
	r, tb := newResult(), tricksTable()
	r.takeTests(suiteOfTests{}, step{output: []string{"    x_test.go:1: trick: " + tricks()[0] + ": 0 of 1000 lived"}})
	claimed := tb.row(r)
	if d := tb.differences([]row{claimed}, []*result{r}); d != nil || claimed[2] != "0" || claimed[3] != untried {
		t.Errorf("%q: %q", claimed, d)
	}
	r.takeTests(suiteOfTests{}, step{output: []string{"    x_test.go:1: trick: " + tricks()[0] + ": 0 of 200 lived"}})
	if d := tb.differences([]row{claimed}, []*result{r}); d != nil || tb.row(r)[2] != "0 of 200" {
		t.Errorf("fewer tries are no difference: %q: %q", tb.row(r), d)
	}
	r.takeTests(suiteOfTests{}, step{output: []string{"    x_test.go:1: trick: " + tricks()[0] + ": 3 of 200 lived"}})
	if d := tb.differences([]row{claimed}, []*result{r}); len(d) != 1 {
		t.Errorf("three that lived: %q", d)
	}
}

func TestTheTablesInTheDocsCanBeRead(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, tb := range tables() {
		_, rows, _, err := tb.split(string(text))
		if err != nil || len(rows) == 0 {
			t.Errorf("%d lines, %v", len(rows), err)
		}
		for _, l := range rows {
			if !slices.ContainsFunc(kernels(), func(k kernel) bool { return l.is(row{k.Name, k.Arch}) }) {
				t.Errorf("a line for %s on %s, which is not run", l[0], l[1])
			}
		}
	}
	if text, err = os.ReadFile(filepath.Join(root, record)); err != nil {
		t.Fatal(err)
	}
	if counts, err := parseRecord(string(text)); err != nil || len(counts) == 0 {
		t.Errorf("%d counts, %v", len(counts), err)
	}
}

func TestAChangeOfMoreThanATenthIsShown(t *testing.T) {
	for _, c := range []struct {
		before, now int
		want        bool
	}{{1000, 1100, false}, {1000, 1101, true}, {1000, 900, false}, {1000, 899, true}, {27, 27, false}} {
		if changed(c.before, c.now) != c.want {
			t.Errorf("from %d to %d: %v", c.before, c.now, !c.want)
		}
	}
}

// Go interprets the part of an expression after a slash as the name of a subtest.
func TestExpressionsOfThePlanAreValid(t *testing.T) {
	for _, s := range tests() {
		for _, expr := range []string{s.run, s.skip} {
			if _, err := regexp.Compile(expr); err != nil {
				t.Errorf("%s: %v", s.pkg, err)
			}
		}
	}
}
