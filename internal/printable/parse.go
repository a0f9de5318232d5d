package printable

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Parse returns the bytes that Text has escaped. NULs stay spaces. cut reports whether text is
// truncated, by Text or by an ellipsis anywhere; an escape in which it is truncated is dropped.
// The error is about a backslash that Text does not write.
func Parse(text string) (b []byte, cut bool, err error) {
	text, cut = trim(text)
	b, err = unescape(nil, text, cut)
	return b, cut, err
}

// ParseArgs returns the arguments that Args has escaped: argv[0] and, if there are others, a NUL,
// the others, in which NULs stay spaces, because a rule does not distinguish them, and the NUL
// that ends the last one, which may be empty. cut and err are those of Parse.
func ParseArgs(text string) (area []byte, cut bool, err error) {
	text, cut = trim(text)
	argv0, rest, more := strings.Cut(text, " ")
	if area, err = unescape(nil, argv0, cut && !more); err == nil && more {
		area, err = unescape(append(area, 0), rest, cut)
	}
	if err == nil && more && !cut {
		area = append(area, 0)
	}
	return area, cut, err
}

// trim removes the mark of a truncated text.
func trim(text string) (rest string, cut bool) {
	if at := mark.FindStringIndex(text); at != nil {
		return text[:at[0]], true
	}
	return text, false
}

// unescape appends the bytes of an escaped text.
func unescape(b []byte, text string, cut bool) ([]byte, error) {
	for {
		i := strings.IndexByte(text, '\\')
		if i < 0 {
			return append(b, text...), nil
		}
		b = append(b, text[:i]...)
		text = text[i:]
		var size int
		if b, size = appendEscaped(b, text); size == 0 {
			if cut && incomplete.MatchString(text) {
				return b, nil
			}
			return nil, fmt.Errorf(`%.10q is not an escape of the log: \\, \xHH, \uHHHH or \UHHHHHHHH`, text)
		}
		text = text[size:]
	}
}

var (
	mark       = regexp.MustCompile(`(?:` + ellipsis + `(?:\(\+\d+ bytes\))?)+$`)
	incomplete = regexp.MustCompile(`^\\(?:x[0-9a-f]?|u[0-9a-f]{0,3}|U[0-9a-f]{0,7})?$`)
)

// appendEscaped appends what the escape at the beginning of text stands for, and returns the
// length of the escape, 0 if there is none.
func appendEscaped(b []byte, text string) ([]byte, int) {
	if len(text) < 2 {
		return b, 0
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[text[1]]
	if digits == 0 {
		if text[1] == '\\' {
			return append(b, '\\'), 2
		}
		return b, 0
	}
	if len(text) < 2+digits {
		return b, 0
	}
	n, err := strconv.ParseUint(text[2:2+digits], 16, 32)
	switch {
	case err != nil || digits > 2 && !utf8.ValidRune(rune(n)):
		return b, 0
	case digits == 2:
		return append(b, byte(n)), 4
	}
	return utf8.AppendRune(b, rune(n)), 2 + digits
}
