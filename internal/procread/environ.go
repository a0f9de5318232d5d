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
)

// maxEnvValue is how many bytes of a variable's value are kept.
const maxEnvValue = 1024

// Environ returns the variables of those names in an environment area, made safe
// to print: NAME=VALUE, each ended by a NUL. Of a name that occurs more than once,
// the first counts, as in the C library. It is nil if there is none.
func Environ(area []byte, names []string) map[string]string {
	if len(names) == 0 {
		return nil
	}
	var found map[string]string
	for entry := range bytes.SplitSeq(area, []byte{0}) {
		name, value, ok := bytes.Cut(entry, []byte("="))
		if !ok || !slices.Contains(names, string(name)) {
			continue
		}
		if _, again := found[string(name)]; again {
			continue
		}
		if found == nil {
			found = make(map[string]string)
		}
		found[string(name)] = printable.Text(value, maxEnvValue)
	}
	return found
}

// Environ returns the variables of those names in a process's environment, which
// it can have changed since it was started. The errors are those of Read.
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
		if err != nil || flags&endEmpty == 0 { // an exec that is under way has none yet
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

// file asks for a file about a process.
func (r *Reader) file(ctx context.Context, h *process.Handle, owner string, q request, visit func([]byte) error) (flags byte, err error) {
	now, err := process.Current(h.PID())
	if err == nil {
		q.image = now
		flags, err = r.ask(ctx, h, owner, q, visit)
	}
	if gone := h.Alive(); gone != nil {
		return 0, gone
	}
	return flags, err
}
