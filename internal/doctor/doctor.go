// Package doctor checks the kernel features and privileges that the agent needs.
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

	"github.com/cryptnono/cryptnono/internal/detector"
)

var (
	// errUnknown is wrapped by the error of a check that could not be made.
	errUnknown = errors.New("unknown")
	// errOff is wrapped by the error of a detector that this machine does not support.
	errOff = errors.New("this detector stays off, the others run")
)

// A Check tests one feature or privilege.
type Check struct {
	Name string
	// Optional: the agent runs without it, with restrictions.
	Optional bool
	// Informational: the result does not change what the agent does. Start skips the
	// check, which may block on a file system that a user controls.
	Informational bool
	// Off: the settings turn off what it is for, so Report does not run it.
	Off bool
	// Run returns what was found, or an error that names what is missing and how to fix
	// it.
	Run func() (string, error)
}

// Machine returns the checks of the kernel and of this process's privileges, each after
// those that it depends on.
func Machine() []Check {
	return []Check{
		{Name: "kernel", Run: kernel},
		{Name: "BTF", Run: kernelTypes},
		{Name: "user namespace", Run: userNamespace},
		{Name: "PID namespace", Run: pidNamespace},
		{Name: "time namespace", Run: timeNamespace},
		{Name: "capabilities", Run: capabilities},
		{Name: "other processes", Run: requires(otherProcesses, unix.CAP_SYS_PTRACE), Optional: true},
		{Name: "others' files", Run: requires(othersFiles, unix.CAP_SYS_PTRACE), Optional: true},
		{Name: "lockdown", Run: lockdown},
		{Name: "locked memory", Run: requires(lockedMemory, unix.CAP_BPF)},
		{Name: "exec tracepoint", Run: execTracepoint},
		{Name: "ring buffer", Run: loading(ringBuffer)},
		{Name: "kernel kills", Run: loading(sendSignal)},
		{Name: "JIT compiler", Run: loading(jit), Optional: true},
		{Name: "cgroups", Run: cgroups, Optional: true},
		{Name: "runtimes", Run: requires(findRuntimes, unix.CAP_SYS_PTRACE), Optional: true, Informational: true},
		{Name: "pins", Run: pins, Optional: true, Informational: true},
		{Name: "unprivileged BPF", Run: unprivilegedBPF, Optional: true, Informational: true},
	}
}

// Loads returns the check that a detector can be loaded. load loads and unloads it, and
// returns how long loading took and which of its modes the detector uses here, empty if
// it has only one.
func Loads(name string, load func() (took time.Duration, mode string, err error)) Check {
	return Check{Name: name, Run: loading(func() (string, error) {
		took, mode, err := load()
		if errors.Is(err, detector.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", err, errOff)
		}
		text := fmt.Sprintf("loads in %d ms", took.Milliseconds())
		if mode != "" {
			text += ": " + mode
		}
		return text, err
	})}
}

// Report runs the checks and writes a line for each. It returns an error if a check
// fails that is not optional.
func Report(w io.Writer, checks []Check) error {
	failed := 0
	for _, c := range checks {
		verdict := "ok"
		var text string
		var err error
		if c.Off {
			verdict, text = "off", "by the settings"
		} else {
			text, err = c.Run()
		}
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

// AtStart returns the checks of Machine that can prevent the agent from working; none blocks.
func AtStart() []Check {
	return slices.DeleteFunc(Machine(), func(c Check) bool { return c.Informational })
}

// Start runs the checks that can prevent the agent from working; it takes some 20 ms. The
// error is one sentence about the first check that fails. Failed optional checks are
// logged.
func Start(log *slog.Logger) error {
	return start(AtStart(), log)
}

func start(checks []Check, log *slog.Logger) error {
	failed := make(map[string]error) // optional checks
	for _, c := range checks {
		_, err := c.Run()
		switch {
		case err == nil, errors.Is(err, errUnknown):
		case c.Optional:
			failed[c.Name] = err
		default:
			return failure(c, err)
		}
	}
	for _, c := range checks {
		if err := failed[c.Name]; err != nil {
			log.Warn("optional check failed", "check", c.Name, "err", err)
		}
	}
	return nil
}

// failure returns the error of a failed check as one sentence.
func failure(c Check, err error) error {
	return fmt.Errorf("%s: %w; for details run `cryptnono doctor`", c.Name, err)
}

// Explain replaces an error of the agent by that of a failed check, if the machine or
// the privileges are the cause. It returns other errors unchanged.
func Explain(err error) error {
	_, rejected := errors.AsType[*ebpf.VerifierError](err)
	if !rejected && !errors.Is(err, unix.EPERM) && !errors.Is(err, ebpf.ErrNotSupported) {
		return err
	}
	for _, c := range Machine() {
		if c.Optional {
			continue
		}
		if _, cause := c.Run(); cause != nil && !errors.Is(cause, errUnknown) {
			return failure(c, cause)
		}
	}
	return refused(err)
}

// refused adds a hint to EPERM, for a process that has the required capabilities.
func refused(err error) error {
	if !errors.Is(err, unix.EPERM) {
		return err
	}
	return fmt.Errorf("%w, although the capabilities are there: a seccomp profile or a security module may block it", err)
}
