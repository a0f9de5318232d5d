// Package doctor says what a machine and its privileges allow the agent, and what
// to do about what is missing.
package doctor

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

var (
	// errUnknown says that a check could not look, and so found nothing missing.
	errUnknown = errors.New("unknown")
	// errOff says that a detector has no use for this machine.
	errOff = errors.New("this detector stays off, the others run")
)

// A Check looks at one thing.
type Check struct {
	Name string
	// Optional says that the agent works without it, if less well.
	Optional bool
	// Informs says that the agent does the same whatever is found, and that Start
	// leaves it out: it may take long where others have file systems.
	Informs bool
	// Look returns what was found, or an error that says what is missing and
	// what to do about it.
	Look func() (string, error)
}

// Machine returns the checks of the kernel and of our privileges. Where one thing
// takes another, that other comes first.
func Machine() []Check {
	return []Check{
		{Name: "kernel", Look: kernel},
		{Name: "BTF", Look: kernelTypes},
		{Name: "user namespace", Look: userNamespace},
		{Name: "PID namespace", Look: pidNamespace},
		{Name: "time namespace", Look: timeNamespace},
		{Name: "capabilities", Look: capabilities},
		{Name: "other processes", Look: with(otherProcesses, unix.CAP_SYS_PTRACE), Optional: true},
		{Name: "lockdown", Look: lockdown},
		{Name: "locked memory", Look: with(lockedMemory, unix.CAP_BPF)},
		{Name: "exec tracepoint", Look: execTracepoint},
		{Name: "ring buffer", Look: loading(ringBuffer)},
		{Name: "kernel kills", Look: loading(sendSignal)},
		{Name: "JIT compiler", Look: loading(jit), Optional: true},
		{Name: "cgroups", Look: cgroups, Optional: true},
		{Name: "runtimes", Look: with(runtimes, unix.CAP_SYS_PTRACE), Optional: true, Informs: true},
		{Name: "unprivileged BPF", Look: unprivilegedBPF, Optional: true, Informs: true},
	}
}

// Loads returns the check that a detector can be loaded. try does that for a
// moment, and returns how long it took and in which of several ways the detector
// works here, empty if it has one only.
func Loads(detector string, try func() (took time.Duration, way string, err error)) Check {
	return Check{Name: detector, Look: loading(func() (string, error) {
		took, way, err := try()
		if errors.Is(err, errors.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", err, errOff)
		}
		text := fmt.Sprintf("loads in %d ms", took.Milliseconds())
		if way != "" {
			text += ": " + way
		}
		return text, err
	})}
}

// Report writes a line for each check, and returns an error if something is
// missing that is not optional.
func Report(w io.Writer, checks []Check) error {
	failed := 0
	for _, c := range checks {
		verdict := "ok"
		text, err := c.Look()
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		switch {
		case err == nil:
		case errors.Is(err, errUnknown):
			verdict = "?"
		case c.Optional, errors.Is(err, errOff):
			verdict = "warn"
		default:
			verdict = "FAIL"
			failed++
		}
		if _, err := fmt.Fprintf(w, "%-4s  %-16s  %s\n", verdict, c.Name, text); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

// Start looks whether the agent can do its work here, before it begins: it takes some
// 20 ms. The error is one sentence about the first check that fails; what only makes
// the agent weaker is logged, a line each.
func Start(log *slog.Logger) error {
	return start(slices.DeleteFunc(Machine(), func(c Check) bool { return c.Informs }), log)
}

func start(checks []Check, log *slog.Logger) error {
	weak := make(map[string]error)
	for _, c := range checks {
		_, err := c.Look()
		switch {
		case err == nil, errors.Is(err, errUnknown):
		case c.Optional:
			weak[c.Name] = err
		default:
			return lacks(c, err)
		}
	}
	for _, c := range checks {
		if err := weak[c.Name]; err != nil {
			log.Warn("works less well here", "check", c.Name, "err", err)
		}
	}
	return nil
}

// lacks is what a check has found missing, as one sentence.
func lacks(c Check, err error) error {
	return fmt.Errorf("%s: %w; `cryptnono doctor` says more", c.Name, err)
}

// Explain puts into one sentence why the agent could not start, if that is for
// the machine or its privileges. Other errors are returned as they are.
func Explain(err error) error {
	_, rejected := errors.AsType[*ebpf.VerifierError](err)
	if !rejected && !errors.Is(err, unix.EPERM) && !errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	for _, c := range Machine() {
		if c.Optional {
			continue
		}
		if _, lack := c.Look(); lack != nil && !errors.Is(lack, errUnknown) {
			return lacks(c, lack)
		}
	}
	return refused(err)
}

// refused says more of an error where the kernel refuses what the capabilities
// allow.
func refused(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return fmt.Errorf("%w, although the capabilities are there: does a seccomp profile or a security module forbid it?", err)
}
