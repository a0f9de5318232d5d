// Generate writes the scrambled list of words that the program carries, from the readable
// one: generate LIST PACKED.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // this is a main
	}
}

func run(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	words, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	return os.WriteFile(to, packed.Pack(words), 0o644) //nolint:gosec // files of the repository are readable by all users
}

// parse reads the list. Its first lines describe the form.
func parse(text string) ([]packed.Word, error) {
	var words []packed.Word
	names := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		w, err := parseLine(lines.Text())
		if err == nil && w != nil && names[string(w.Name)] {
			err = fmt.Errorf("a second word %q", w.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if w != nil {
			names[string(w.Name)] = true
			words = append(words, *w)
		}
	}
	return words, lines.Err()
}

func parseLine(line string) (*packed.Word, error) {
	group, rest := field(line)
	if group == "" {
		return nil, nil //nolint:nilnil // a comment or an empty line
	}
	w := &packed.Word{Group: group[0]}
	if group != "protocol" && group != "algorithm" && group != "constant" {
		return nil, fmt.Errorf("no group %q", group)
	}
	name, rest := field(rest)
	if name == "" || len(name) > packed.MaxSpelling {
		return nil, fmt.Errorf("a name of %d bytes", len(name))
	}
	w.Name = []byte(name)
	for {
		var text string
		if text, rest = field(rest); text == "" {
			break
		}
		s, err := spelling(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		w.Spellings = append(w.Spellings, s)
	}
	if n := len(w.Spellings); n == 0 || n > 255 {
		return nil, fmt.Errorf("%d spellings", n)
	}
	return w, nil
}

// field returns the first field of a line, which is a Go string literal or has no spaces,
// and what follows it. It is empty at the end and before a comment.
func field(line string) (first, rest string) {
	line = strings.TrimLeft(line, " \t")
	if quoted, err := strconv.QuotedPrefix(line); err == nil {
		return quoted, line[len(quoted):]
	}
	if strings.HasPrefix(line, "#") {
		return "", ""
	}
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, ""
}

// spelling returns the bytes of a Go string literal or of hexadecimal digits.
func spelling(text string) ([]byte, error) {
	var s []byte
	if strings.HasPrefix(text, `"`) {
		plain, err := strconv.Unquote(text)
		if err != nil {
			return nil, err
		}
		s = []byte(plain)
	} else {
		var err error
		if s, err = hex.DecodeString(text); err != nil {
			return nil, err
		}
	}
	switch {
	case len(s) < 6 || len(s) > packed.MaxSpelling:
		return nil, fmt.Errorf("%d bytes, and not 6 to %d", len(s), packed.MaxSpelling)
	case bytes.Contains(s, []byte{0, 0}):
		return nil, fmt.Errorf("two zero bytes, so that empty pages would take long")
	}
	return s, nil
}
