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

// scriptHead is the size of the head of a script that the kernel reads (BINPRM_BUF_SIZE in
// linux/binfmts.h).
const scriptHead = 256

// exemptScript returns the exemption of a process that was started before the agent and runs
// an exempt script: one of its arguments is the path of the script, and its program is the
// interpreter of the script.
func (c *Checker) exemptScript(s *set, p process.Event, arguments []string) string {
	for _, arg := range arguments {
		if p.HostRoot && slices.Contains(s.rules.Programs, arg) && c.interprets(p.File, arg) {
			return "program " + arg
		}
	}
	return ""
}

// interprets reports whether a program is the interpreter in the first line of a file on the
// host, or one that env may find for it.
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
