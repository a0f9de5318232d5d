package procread

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/secrets"
)

// maxEnvValue is the maximum length of a variable's value in bytes.
const maxEnvValue = 1024

// Environ returns the named variables of an environment area, with printable values in which
// secrets are hidden. The area has the form NAME=VALUE, each terminated by a NUL, and may be
// cut. The first of several variables with the same name counts, as in the C library. The
// result is nil if there is none.
func Environ(area []byte, names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	var found map[string]string
	for entry := range bytes.SplitAfterSeq(area, []byte{0}) {
		entry, ended := bytes.CutSuffix(entry, []byte{0})
		name, value, ok := bytes.Cut(entry, []byte("="))
		if !ok || !slices.Contains(names, string(name)) {
			continue
		}
		if _, duplicate := found[string(name)]; duplicate {
			continue
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[string(name)] = printable.Text(secrets.HideVariable(string(name), value, !ended), maxEnvValue)
	}
	return found
}

// Environ returns the named variables of a process's environment, which the process can
// have changed. The errors are those of Read.
func (r *Reader) Environ(ctx context.Context, h *process.Handle, owner string, names []string) (map[string]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if length := len(strings.Join(names, "\x00")); length > maxNames {
		return nil, fmt.Errorf("reading an environment: %d bytes of names", length)
	}
	var found map[string]string
	q := request{kind: requestEnviron, names: names}
	visit := func(data []byte) error {
		if len(data) == 0 {
			return nil
		}
		name, value, err := decodeVariable(data)
		if err != nil {
			return err
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[name] = value
		return nil
	}
	flags, err := r.file(ctx, h, owner, q, visit)
	for range attempts - 1 {
		if err != nil || flags&endEmpty == 0 { // during an exec, the environment is empty
			break
		}
		time.Sleep(pause)
		flags, err = r.file(ctx, h, owner, q, visit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the environment of process %d: %w", h.PID(), err)
	}
	return found, nil
}

// file requests a file about a process.
func (r *Reader) file(ctx context.Context, h *process.Handle, owner string, q request, visit func([]byte) error) (flags byte, err error) {
	now, err := process.Current(h.PID())
	if err == nil {
		q.image = now
		flags, err = r.do(ctx, h, owner, q, visit)
	}
	if gone := h.Alive(); gone != nil {
		return 0, gone
	}
	return flags, err
}
