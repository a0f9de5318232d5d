// Package printable makes text that is safe to log of bytes that users control.
package printable

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Text makes text of bytes that a stranger has chosen, for a log or a
// terminal: arguments are separated by a space instead of a NUL, and whatever
// is not visible, and thus could forge lines, colours or the order of letters,
// is written as \xHH, \uHHHH or \UHHHHHHHH. So is what is not UTF-8, as \xHH.
// A backslash is written as two.
//
// The text is limit bytes long at most. Of what is longer the end says how
// many bytes of b are missing: "…(+N bytes)".
func Text(b []byte, limit int) string {
	b = bytes.TrimSuffix(b, []byte{0})
	text := make([]byte, 0, min(len(b), max(limit, 0)))
	for i := 0; i < len(b); {
		run := plain(b[i : i+min(len(b)-i, max(limit-len(text), 0))])
		text = append(text, b[i:i+run]...)
		if i += run; i == len(b) {
			break
		}
		before := len(text)
		var size int
		text, size = appendPrintable(text, b[i:])
		if len(text) > limit {
			return fmt.Sprintf("%s…(+%d bytes)", text[:before], len(b)-i)
		}
		i += size
	}
	return string(text)
}

// plain returns the number of bytes at the beginning of b that stand for themselves.
func plain(b []byte) int {
	for i, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// Visible makes text that is safe to print as Text does, but leaves backslashes,
// newlines and what is printable already as they are: it may be applied to a text that
// holds parts that Text has made, and changes nothing in them.
func Visible(text string, limit int) string {
	if len(text) <= limit && isVisible(text) {
		return text
	}
	var shown []byte
	for i := 0; i < len(text); {
		before := len(shown)
		size := 1
		if text[i] == '\\' || text[i] == '\n' {
			shown = append(shown, text[i])
		} else {
			shown, size = appendPrintable(shown, []byte(text[i:min(len(text), i+utf8.UTFMax)]))
		}
		if len(shown) > limit {
			return fmt.Sprintf("%s…(+%d bytes)", shown[:before], len(text)-i)
		}
		i += size
	}
	return string(shown)
}

func isVisible(text string) bool {
	for i, r := range text {
		if !strconv.IsPrint(r) && r != '\n' || r == utf8.RuneError && text[i] != 0xEF {
			return false
		}
	}
	return true
}

// appendPrintable appends the first character of b, and returns how many bytes
// of b that was.
func appendPrintable(text, b []byte) ([]byte, int) {
	c := b[0]
	switch {
	case c == 0:
		return append(text, ' '), 1
	case c == '\\':
		return append(text, `\\`...), 1
	case c >= ' ' && c < 0x7f:
		return append(text, c), 1
	case c < utf8.RuneSelf:
		return appendHex(append(text, `\x`...), uint32(c), 2), 1
	}
	r, size := utf8.DecodeRune(b)
	switch {
	case r == utf8.RuneError && size == 1:
		return appendHex(append(text, `\x`...), uint32(c), 2), size
	case strconv.IsPrint(r):
		return append(text, b[:size]...), size
	case r <= 0xFFFF:
		return appendHex(append(text, `\u`...), uint32(r), 4), size
	}
	return appendHex(append(text, `\U`...), uint32(r), 8), size
}

// appendHex appends a number of so many digits.
func appendHex(text []byte, n uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		text = append(text, "0123456789abcdef"[n>>shift&0xf])
	}
	return text
}
