// Package doctor says what a machine and its privileges allow the agent, and what
// to do about what is missing.
package doctor

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A Check looks at one thing.
type Check struct {
	Name string
	// Optional says that the agent works without it, if less well.
	Optional bool
	// Look returns what was found, or an error that says what is missing and
	// what to do about it.
	Look func() (string, error)
}

// Machine returns the checks of the kernel and of our privileges.
func Machine() []Check {
	return []Check{
		{Name: "kernel", Look: kernel},
		{Name: "BTF", Look: kernelTypes},
		{Name: "capabilities", Look: capabilities},
		{Name: "other users' processes", Optional: true, Look: optionalCapabilities},
		{Name: "processes", Look: processes},
		{Name: "lockdown", Look: lockdown},
		{Name: "JIT compiler", Optional: true, Look: jit},
	}
}

// Report writes a line for each check, and returns an error if one failed that is
// not optional.
func Report(w io.Writer, checks []Check) error {
	failed := 0
	for _, c := range checks {
		verdict := "ok"
		text, err := c.Look()
		switch {
		case err != nil && c.Optional:
			verdict, text = "warn", err.Error()
		case err != nil:
			verdict, text = "FAIL", err.Error()
			failed++
		}
		if _, err := fmt.Fprintf(w, "%-5s %-23s %s\n", verdict, c.Name, text); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

// Explain puts into one sentence why the agent could not start, where that is
// for the machine or its privileges. Other errors are returned as they are.
func Explain(err error) error {
	_, capability := capabilities()
	_, types := kernelTypes()
	switch {
	case errors.Is(err, unix.EPERM) && capability != nil:
		return capability
	case errors.Is(err, unix.EPERM):
		return errors.New("not permitted, although the capabilities are there: kernel lockdown, seccomp or a security module forbids BPF")
	case errors.Is(err, ebpf.ErrNotSupported) && types != nil:
		return types
	}
	return err
}
