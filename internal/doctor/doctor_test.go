package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestReport(t *testing.T) {
	check := func(name, found string, err error) Check {
		return Check{Name: name, Run: func() (string, error) { return found, err }}
	}
	missing := errors.New("missing: install it")
	good, bad, optional := check("good", "found", nil), check("bad", "", missing), check("optional", "", missing)
	optional.Optional = true
	unknown := check("unknown", "", fmt.Errorf("%w without CAP_X", errUnknown))
	off := check("off", "", fmt.Errorf("not on this machine: %w", errOff))
	unwanted := check("unwanted", "", missing)
	unwanted.Off = true
	two := check("two", "", errors.Join(missing, errors.New("another error")))

	var out strings.Builder
	if err := Report(&out, []Check{good, optional, unknown, off, unwanted}); err != nil {
		t.Errorf("no required check failed, but: %v", err)
	}
	err := Report(&out, []Check{good, bad, two})
	if err == nil || err.Error() != "2 of 3 checks failed" {
		t.Errorf("got %v", err)
	}
	const want = `ok    good              found
warn  optional          missing: install it
?     unknown           unknown without CAP_X
warn  off               not on this machine: this detector stays off, the others run
off   unwanted          by the settings
ok    good              found
FAIL  bad               missing: install it
FAIL  two               missing: install it; another error
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestStart(t *testing.T) {
	check := func(name string, optional bool, err error) Check {
		return Check{Name: name, Optional: optional, Run: func() (string, error) { return "found", err }}
	}
	missing := errors.New("missing: install it")
	good, unknown := check("good", false, nil), check("unknown", false, fmt.Errorf("%w without CAP_X", errUnknown))
	first, second := check("first", true, missing), check("second", true, missing)
	bad, worse := check("bad", false, missing), check("worse", false, errors.New("broken"))
	tests := []struct {
		name   string
		checks []Check
		err    string
		log    string
	}{
		{"no check fails", []Check{good, unknown}, "", ""},
		{
			"optional checks fail", []Check{first, good, second}, "",
			"level=WARN msg=\"optional check failed\" check=first err=\"missing: install it\"\n" +
				"level=WARN msg=\"optional check failed\" check=second err=\"missing: install it\"\n",
		},
		{"a required check fails", []Check{first, bad, worse}, "bad: missing: install it; for details run `cryptnono doctor`", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			noTime := func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
			err := start(tt.checks, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: noTime})))
			if (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err || log.String() != tt.log {
				t.Errorf("got %v and\n%swant %s and\n%s", err, log.String(), tt.err, tt.log)
			}
		})
	}
}

func TestChecks(t *testing.T) {
	const all = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_KILL
	release := func(r string) func() (string, error) { return func() (string, error) { return checkRelease(r) } }
	capabilities := func(c uint64) func() (string, error) { return func() (string, error) { return checkCapabilities(c) } }
	lockdown := func(m string) func() (string, error) { return func() (string, error) { return checkLockdown(m) } }
	cgroups := func(c string) func() (string, error) { return func() (string, error) { return checkCgroups(c) } }
	tests := []struct {
		name string
		run  func() (string, error)
		want string // part of the text or of the error
		ok   bool
	}{
		{"a new kernel", release("6.12.3-cloud-amd64"), "Linux 6.12.3-cloud-amd64", true},
		{"the oldest kernel", release("5.10.0"), "Linux 5.10.0", true},
		{"a kernel a little too old", release("5.9.16"), "5.10 or later is needed", false},
		{"a kernel much too old", release("4.19"), "5.10 or later is needed", false},
		{"a release without version", release("linux"), "has no version", false},

		{"all capabilities", capabilities(all), "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_KILL", true},
		{"one capability missing", capabilities(all &^ (1 << unix.CAP_PERFMON)),
			"CAP_PERFMON (to attach them to tracepoints and read kernel memory) missing: run as root, or with CAP_BPF, CAP_PERFMON,", false},
		{"other capabilities only", capabilities(^uint64(all)), "CAP_BPF (to load programs into the kernel), CAP_PERFMON (to", false},

		{"no lockdown", lockdown("[none] integrity confidentiality\n"), "none", true},
		{"lockdown for integrity", lockdown("none [integrity] confidentiality\n"), "integrity", true},
		{"lockdown for confidentiality", lockdown("none integrity [confidentiality]\n"), "lockdown=integrity", false},
		{"a lockdown file without a mode", lockdown("none\n"), "unknown: no mode", false},

		{"cgroup v2", cgroups("0::/user.slice\n"), "v2", true},
		{"cgroup v1", cgroups("4:pids:/a\n1:name=systemd:/a\n"), "v1", true},
		{"both cgroups", cgroups("4:pids:/0::/a\n0::/\n"), "v1 and v2", true},
		{"cgroup v1 with the line of v2 in a name", cgroups("4:pids:/0::/a\n"), "v1", true},
		{"no cgroup", cgroups(""), "cannot name the container", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := tt.run()
			if (err == nil) != tt.ok {
				t.Fatalf("got %q and error %v", text, err)
			}
			if err != nil {
				text = err.Error()
			}
			if !strings.HasPrefix(text, tt.want) && (tt.ok || !strings.Contains(text, tt.want)) {
				t.Errorf("got %q, want %q in it", text, tt.want)
			}
		})
	}
}

func TestExplainReturnsOtherErrorsUnchanged(t *testing.T) {
	if err := errors.New("x"); Explain(err) != err { //nolint:errorlint // the same value
		t.Error("an error without a relation to privileges was changed")
	}
	if err := Explain(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestThisMachinePassesAllChecks(t *testing.T) {
	testutil.Privileged(t)
	var out strings.Builder
	if err := Report(&out, Machine()); err != nil || strings.Contains(out.String(), "unknown") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestExplainGivesAHintIfNoCheckFails(t *testing.T) {
	testutil.Privileged(t)
	err := Explain(fmt.Errorf("loading: %w", unix.EPERM))
	const want = "loading: operation not permitted, although the capabilities are there: a seccomp profile or a security module may block it"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	rejected := &ebpf.VerifierError{Cause: unix.EINVAL}
	if err := Explain(rejected); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a rejected program became %v", err)
	}
}

func TestLoads(t *testing.T) {
	testutil.Privileged(t)
	tests := []struct {
		name string
		mode string
		err  error
		line string
		ok   bool
	}{
		{"a detector that loads", "", nil, "ok    test              loads in 20 ms\n", true},
		{"a detector with several modes", "the new mode", nil, "ok    test              loads in 20 ms: the new mode\n", true},
		{"a detector that this machine does not support", "", fmt.Errorf("no tracepoint: %w", detector.ErrUnsupported),
			"warn  test              no tracepoint: not supported by this machine: this detector stays off, the others run\n", true},
		{"a detector that does not load", "", errors.New("no memory"), "FAIL  test              no memory\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			err := Report(&out, []Check{Loads("test", func() (time.Duration, string, error) {
				return 20 * time.Millisecond, tt.mode, tt.err
			})})
			if (err == nil) != tt.ok || out.String() != tt.line {
				t.Errorf("got error %v and %q, want %q", err, out.String(), tt.line)
			}
		})
	}
}
