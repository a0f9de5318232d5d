package match

import (
	"bytes"
	"slices"
	"strings"
)

// Shells returns the names of programs that run the text after -c. As the kernel compares
// them, they have at most 6 bytes.
func Shells() []string {
	return []string{"sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "ksh93", "mksh", "yash", "fish"}
}

// shellText finds the text of a shell's -c among the arguments of a command line, as indexes
// in rest, whose first byte is the NUL before argv[1]. ok is false if the program is not
// called as a shell, has no such text, or one of a single word. What the text starts is
// evaluated itself; a miner that is named like a shell cannot have its options there.
func shellText(path, argv0, rest []byte) (begin, end int, ok bool) {
	if !isShell(path) && !isShell(argv0) || len(rest) == 0 {
		return 0, 0, false
	}
	commands, value := false, false // a -c was seen; the argument is the value of an -o
	for at := 1; at <= min(len(rest), maxShellOptions); at = end + 1 {
		end = len(rest)
		if n := bytes.IndexByte(rest[at:], 0); n >= 0 {
			end = at + n
		}
		arg := string(rest[at:end])
		switch {
		case value:
			value = false
		case strings.HasPrefix(arg, "--") && arg != "--":
		case strings.HasPrefix(arg, "-"), strings.HasPrefix(arg, "+"):
			commands = commands || arg[0] == '-' && strings.Contains(arg, "c")
			value = strings.ContainsAny(arg, "oO")
		case !commands:
			return 0, 0, false // the name of a script
		default:
			return at, end, strings.ContainsAny(arg, " \t\n")
		}
	}
	return 0, 0, false
}

// SplitShell returns the arguments of a command line of which only the end of argv[0] is known. If
// it is that of a shell with a -c, those before its text end at spaces, and all that follows is the
// text. It does not change area.
func SplitShell(path, area []byte) []byte {
	argv0, rest := split(area)
	words := bytes.ReplaceAll(rest, []byte(" "), []byte{0})
	text, _, _ := shellText(path, argv0, words)
	if text == 0 {
		return area
	}
	return slices.Concat(argv0, words[:text], area[len(argv0)+text:])
}

// maxShellOptions is how many bytes behind argv[0] the text may begin.
const maxShellOptions = 256

// isShell reports whether a path, or an argv[0], of less than 256 bytes ends with the name of
// a shell.
func isShell(path []byte) bool {
	if len(path) >= 256 {
		return false
	}
	name := path[bytes.LastIndexByte(path, '/')+1:]
	return slices.Contains(Shells(), string(bytes.TrimPrefix(name, []byte("-"))))
}
