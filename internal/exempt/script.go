package exempt

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// scriptHead is the size of the head of a script that the kernel reads (BINPRM_BUF_SIZE in
// linux/binfmts.h).
const scriptHead = 256

// exemptScript returns the exemption of a process that was started before the agent and runs
// an exempt script: one of its arguments is the path of the script, and its program is the
// interpreter of the script. The error is that of ctx, or says that a script could not be read in time.
func (c *Checker) exemptScript(ctx context.Context, s *set, p process.Event, arguments []string) (string, error) {
	for _, arg := range arguments {
		if !p.HostRoot || !slices.Contains(s.rules.Programs, arg) {
			continue
		}
		name := "interpreters of " + arg
		all, err := c.lookups.wait(ctx, name, c.lookups.begin(name, func() ([]process.FileID, error) { return c.interpreters(arg), nil }))
		if err != nil {
			return "", fmt.Errorf("reading the exempt script %s: %w", arg, err)
		}
		if slices.Contains(all, p.File) {
			return "program " + arg, nil
		}
	}
	return "", nil
}

// interpreters returns the interpreter in the first line of a file on the host, or those that env may
// find for it. It returns none if the file cannot be read.
func (c *Checker) interpreters(file string) (all []process.FileID) {
	fd, err := c.open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(f, scriptHead))
	line, isScript := strings.CutPrefix(string(head), "#!")
	if err != nil || !isScript {
		return nil
	}
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	candidates := words[:1]
	if path.Base(words[0]) == "env" {
		for _, word := range words[1:] {
			if !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
				candidates = []string{"/usr/local/bin/" + word, "/usr/bin/" + word, "/bin/" + word}
				break
			}
		}
	}
	for _, candidate := range candidates {
		if id, err := c.fileAt(candidate); err == nil {
			all = append(all, id)
		}
	}
	return all
}
