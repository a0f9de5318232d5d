package exempt

import (
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/process"
)

// scriptHead is as much of a script's first line as the kernel reads (BINPRM_BUF_SIZE in
// linux/binfmts.h).
const scriptHead = 256

// script returns the exemption that holds for a process whose exec nobody has seen, and
// that runs an exempt script: one of its arguments is the path of a script that its program
// interprets.
func (c *Checker) script(s *set, p process.Event, arguments []string) string {
	for _, its := range arguments {
		if p.HostRoot && slices.Contains(s.rules.Programs, its) && c.interprets(p.File, its) {
			return "program " + its
		}
	}
	return ""
}

// interprets reports whether a program is the interpreter that the first line of a file on
// the host names, or the one that env finds for it.
func (c *Checker) interprets(program process.FileID, file string) bool {
	fd, err := c.open(file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(f, scriptHead))
	line, isScript := strings.CutPrefix(string(head), "#!")
	if err != nil || !isScript {
		return false
	}
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return false
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
		if id, err := c.fileAt(candidate); err == nil && id == program {
			return true
		}
	}
	return false
}
