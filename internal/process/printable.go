package process

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Printable makes text of bytes that a stranger has chosen, for a log or a
// terminal: arguments are separated by a space instead of a NUL, and whatever
// is not visible, and thus could forge lines, colours or the order of letters,
// is written as \xHH, \uHHHH or \UHHHHHHHH. So is what is not UTF-8, as \xHH.
// A backslash is written as two.
//
// The text is limit bytes long at most. Of what is longer the end says how
// many bytes of b are missing: "…(+N bytes)".
func Printable(b []byte, limit int) string {
	b = bytes.TrimSuffix(b, []byte{0})
	var text []byte
	for len(b) > 0 {
		before := len(text)
		next, size := appendPrintable(text, b)
		if len(next) > limit {
			return fmt.Sprintf("%s…(+%d bytes)", next[:before], len(b))
		}
		text, b = next, b[size:]
	}
	return string(text)
}

// appendPrintable appends the first character of b, and returns how many bytes
// of b that was.
func appendPrintable(text, b []byte) ([]byte, int) {
	r, size := utf8.DecodeRune(b)
	switch {
	case r == 0:
		return append(text, ' '), size
	case r == '\\':
		return append(text, `\\`...), size
	case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && !strconv.IsPrint(r):
		return fmt.Appendf(text, `\x%02x`, b[0]), size
	case strconv.IsPrint(r):
		return append(text, b[:size]...), size
	case r <= 0xFFFF:
		return fmt.Appendf(text, `\u%04x`, r), size
	}
	return fmt.Appendf(text, `\U%08x`, r), size
}
