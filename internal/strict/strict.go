// Package strict reads the JSON and YAML files that people write by hand:
// rule files and settings. It accepts no more than plain maps, lists and
// scalars, gives each value its line, and reports all problems of a file at
// once, in the form
//
//	rules/pools.yaml:12: bannedCommandStrings[3]: empty string
//
// A mistyped key that is skipped would leave a node without the protection
// that its operator wrote down, so whatever is not understood is an error.
package strict

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"
)

const (
	// MaxFileBytes is the size of the largest file that is read. A Kubernetes
	// ConfigMap holds 1 MiB at most.
	MaxFileBytes = 16 << 20

	// maxSigns bounds what begins an entry of a map or list, and with it the memory
	// that a file takes: the parser of YAML needs up to 700 bytes for each, which
	// may be two bytes of the file.
	maxSigns = 300_000

	// maxDepth is how deep maps and lists may be nested. The files read here
	// need three levels; the bound keeps recursion shallow.
	maxDepth = 16
)

var errTooDeep = fmt.Errorf("maps and lists nested more than %d deep", maxDepth)

// Read reads a regular file and gives its outermost value to decode. The
// error holds all problems that reading and decode found; when it is not nil,
// nothing that decode has gathered may be used.
func Read(file string, decode func(Value)) error {
	data, err := readRegular(file)
	if err != nil {
		return err
	}
	return Parse(file, data, decode)
}

// Parse is Read for a file whose content is in memory already. Content whose
// first character is "{" is JSON, any other is YAML.
func Parse(file string, data []byte, decode func(Value)) error {
	found := problems{file: file}
	if root, ok := parse(data, &found); ok {
		decode(Value{node: &root, problems: &found})
	}
	return found.err()
}

func parse(data []byte, found *problems) (root node, ok bool) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if line, bad := badCharacter(data); bad != "" {
		found.add(line, "", bad)
		return node{}, false
	}
	if n := signs(data); n > maxSigns {
		found.add(0, "", fmt.Sprintf("up to %d entries, at most %d are allowed; spread it over several files", n, maxSigns))
		return node{}, false
	}
	content := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(content) == 0:
		found.add(0, "", "empty file; {} says that nothing is meant")
		return node{}, false
	case content[0] == '{':
		return parseJSON(data, found)
	}
	return parseYAML(data, found)
}

// signs counts the characters that can begin an entry of a map or list, or a comment,
// which YAML's parser keeps with it: each entry needs one at least.
func signs(data []byte) int {
	n := 0
	for i, c := range data {
		switch c {
		case ',', '[', '{', '#':
			n++
		case '-', '?', ':':
			if i+1 == len(data) || strings.IndexByte(" \t\r\n", data[i+1]) >= 0 {
				n++
			}
		}
	}
	return n
}

// readRegular returns the content of a regular file.
func readRegular(file string) ([]byte, error) {
	// Without O_NONBLOCK, opening a FIFO would wait for its writer.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", file)
	case info.Size() == 0:
		// Files that the kernel makes up, as in /proc, are regular ones of no
		// size. Reading one may wait for ever, as that of /proc/kmsg does.
		return nil, fmt.Errorf("%s: empty file; {} says that nothing is meant", file)
	case info.Size() > MaxFileBytes:
		return nil, fmt.Errorf("%s: larger than %d MiB; spread it over several files", file, MaxFileBytes>>20)
	}
	// What is written behind that meanwhile is another change of the file.
	return io.ReadAll(io.LimitReader(f, info.Size()))
}

// badCharacter finds the first character that neither JSON nor YAML may hold.
func badCharacter(data []byte) (line int, what string) {
	line = 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return line, "not valid UTF-8"
		case r == '\n':
			line++
		case r < ' ' && !strings.ContainsRune("\t\r", r):
			return line, fmt.Sprintf("control character %U", r)
		}
		rest = rest[size:]
	}
	return 0, ""
}
