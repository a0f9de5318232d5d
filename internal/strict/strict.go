// Package strict reads rule files and settings files in JSON or YAML. It accepts only
// plain maps, lists and scalars, and reports all problems of a file together, in the form
//
//	rules/pools.yaml:12: bannedCommandStrings[3]: empty string
//
// Unknown keys are errors: ignoring a misspelt key would leave a node without the
// protection that its operator intended.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unicode/utf8"
)

const (
	// MaxFileBytes is the size of the largest file that is read. A Kubernetes
	// ConfigMap has at most 1 MiB.
	MaxFileBytes = 16 << 20

	// maxEntries limits the entries of maps and lists, and with them the memory for
	// reading a file: an entry of two bytes can need 700 bytes in the YAML parser.
	maxEntries = 300_000

	// maxDepth limits the nesting of maps and lists, and with it the recursion. Rule
	// files and settings need three levels.
	maxDepth = 16
)

var errTooDeep = fmt.Errorf("maps and lists nested more than %d deep", maxDepth)

// Read reads a regular file and calls decode with its outermost value. The error has all
// problems that Read and decode found; if it is not nil, the results of decode must not
// be used.
func Read(file string, decode func(Value)) error {
	data, err := readRegular(file)
	if err != nil {
		return err
	}
	return Parse(file, data, decode)
}

// Parse is Read for a file whose content is in memory. Content that begins with "{" is
// JSON, any other is YAML.
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
	if n := entries(data); n > maxEntries {
		found.add(0, "", fmt.Sprintf("up to %d entries, at most %d are allowed; split it into several files", n, maxEntries))
		return node{}, false
	}
	content := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case len(content) == 0:
		found.add(0, "", emptyFile)
		return node{}, false
	case content[0] == '{':
		return parseJSON(data, found)
	}
	return parseYAML(data, found)
}

const emptyFile = "empty file; write {} if this is intended"

// entries returns an upper bound of the entries of maps and lists: the number of
// characters that can begin one, or a comment, which the YAML parser keeps as well.
func entries(data []byte) int {
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

// Open opens a regular file, and returns its size in bytes. Files in /proc have the size 0; reading
// one can block forever, as that of /proc/kmsg does.
func Open(file string) (f *os.File, size int64, err error) {
	// Without O_NONBLOCK, opening a FIFO would wait for its writer.
	if f, err = os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", file)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func readRegular(file string) ([]byte, error) {
	f, size, err := Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch {
	case size == 0:
		return nil, fmt.Errorf("%s: %s", file, emptyFile)
	case size > MaxFileBytes:
		return nil, fmt.Errorf("%s: larger than %d MiB; split it into several files", file, MaxFileBytes>>20)
	}
	// Text that is appended meanwhile is another change of the file.
	return io.ReadAll(io.LimitReader(f, size))
}

// badCharacter returns the first character that is not allowed in both JSON and YAML.
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
