package doctor

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestReport(t *testing.T) {
	good := Check{Name: "a", Look: func() (string, error) { return "there", nil }}
	bad := Check{Name: "b", Look: func() (string, error) { return "", errors.New("not there: get it") }}
	weak := bad
	weak.Optional = true

	var out strings.Builder
	if err := Report(&out, []Check{good, weak}); err != nil {
		t.Errorf("an optional check failed all: %v", err)
	}
	err := Report(&out, []Check{good, bad})
	if err == nil || err.Error() != "1 of 2 checks failed" {
		t.Errorf("got %v", err)
	}
	const want = `ok    a                       there
warn  b                       not there: get it
ok    a                       there
FAIL  b                       not there: get it
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestChecks(t *testing.T) {
	all := uint64(1)<<unix.CAP_BPF | 1<<unix.CAP_PERFMON
	tests := []struct {
		name string
		look func() (string, error)
		want string // of the text or the error
		ok   bool
	}{
		{"a new kernel", func() (string, error) { return checkRelease("6.12.3-cloud-amd64") }, "Linux 6.12.3-cloud-amd64", true},
		{"the oldest kernel", func() (string, error) { return checkRelease("5.10.0") }, "Linux 5.10.0", true},
		{"an older kernel", func() (string, error) { return checkRelease("5.4.0-100-generic") }, "Linux 5.10 or later is needed", false},
		{"a much older kernel", func() (string, error) { return checkRelease("4.19") }, "too old", false},
		{"no version", func() (string, error) { return checkRelease("linux") }, "has no version", false},
		{"all capabilities", func() (string, error) { return checkCapabilities(all, needed()) }, "CAP_BPF, CAP_PERFMON", true},
		{"one capability missing", func() (string, error) { return checkCapabilities(all&^(1<<unix.CAP_PERFMON), needed()) },
			"root or the capabilities CAP_PERFMON (to attach them to tracepoints and read kernel memory) are needed", false},
		{"lockdown off", func() (string, error) { return checkLockdown("[none] integrity confidentiality\n") }, "[none]", true},
		{"lockdown for integrity", func() (string, error) { return checkLockdown("none [integrity] confidentiality\n") }, "[integrity]", true},
		{"lockdown for confidentiality", func() (string, error) { return checkLockdown("none integrity [confidentiality]\n") }, "lockdown=integrity", false},
		{"JIT on", func() (string, error) { return checkJIT("1") }, "on", true},
		{"JIT off", func() (string, error) { return checkJIT("0") }, "bpf_jit_enable=1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := tt.look()
			if (err == nil) != tt.ok {
				t.Fatalf("got %q and error %v", text, err)
			}
			if err != nil {
				text = err.Error()
			}
			if !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q in it", text, tt.want)
			}
		})
	}
}

func TestExplainLeavesOtherErrorsAlone(t *testing.T) {
	if err := errors.New("x"); !errors.Is(Explain(err), err) {
		t.Error("an error that has nothing to do with privileges was changed")
	}
	if err := Explain(nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

func TestExplainSaysThatTheKernelRefuses(t *testing.T) {
	err := Explain(fmt.Errorf("loading: %w", unix.EPERM))
	if err == nil || !strings.Contains(err.Error(), "not permitted") && !strings.Contains(err.Error(), "CAP_BPF") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestThisMachineHasWhatTheTestsNeed(t *testing.T) {
	testutil.Privileged(t)
	var out strings.Builder
	if err := Report(&out, Machine()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
