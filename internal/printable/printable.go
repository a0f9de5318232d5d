// Package printable escapes untrusted text for logs and terminals.
package printable

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Text escapes untrusted bytes. It replaces the NULs between arguments by spaces, and
// writes characters that are not printable, which could fake lines, colours or the order
// of letters, as \xHH, \uHHHH or \UHHHHHHHH, bytes that are not UTF-8 as \xHH, a
// backslash as two, and an ellipsis as \u2026.
//
// The result has at most limit bytes. If it is truncated, "…(+N bytes)" follows, with the
// number of missing bytes of b.
func Text(b []byte, limit int) string { return escape(bytes.TrimSuffix(b, []byte{0}), 0, 0, limit) }

// Args is Text for arguments from argv[0] on, each terminated by a NUL, of which omitted
// bytes are already missing at the end. A space in argv[0] is written as \x20, so that the
// first space of the result is the end of argv[0]: where other arguments end
// matters only to the text of a shell's -c.
func Args(area []byte, omitted, limit int) string {
	area = bytes.TrimSuffix(area, []byte{0})
	argv0, _, _ := bytes.Cut(area, []byte{0})
	return escape(area, len(argv0), omitted, limit)
}

// escape is Text for text of which omitted bytes are already missing at the end. In its first
// bytes, as many as solid, a space is escaped as well.
func escape(b []byte, solid, omitted, limit int) string {
	text := make([]byte, 0, min(len(b), max(limit, 0)))
	for i := 0; i < len(b); {
		run := b[i : i+min(len(b)-i, max(limit-len(text), 0))]
		if i < solid {
			run = run[:min(len(run), solid-i)]
			if space := bytes.IndexByte(run, ' '); space >= 0 {
				run = run[:space]
			}
		}
		run = run[:plain(run)]
		text = append(text, run...)
		if i += len(run); i == len(b) {
			break
		}
		before := len(text)
		size := 1
		switch {
		case i < solid && b[i] == ' ':
			text = append(text, `\x20`...)
		case bytes.HasPrefix(b[i:], []byte(ellipsis)):
			text, size = append(text, `\u2026`...), len(ellipsis)
		default:
			text, size = appendPrintable(text, b[i:])
		}
		if len(text) > limit {
			return cut(text[:before], len(b)-i+omitted)
		}
		i += size
	}
	if omitted > 0 {
		return cut(text, omitted)
	}
	return string(text)
}

// ellipsis follows text that is truncated.
const ellipsis = "…"

// Short returns a text, or if it is longer than limit bytes its beginning with an ellipsis, in at
// most limit bytes. It does not cut a character, does not escape anything, and the result does not
// keep a long text in memory.
func Short(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(ellipsis), 0)
	for least := end - utf8.UTFMax; end > max(least, 0) && !utf8.RuneStart(text[end]); end-- {
	}
	return text[:end] + ellipsis
}

func cut(text []byte, missing int) string {
	return fmt.Sprintf("%s%s(+%d bytes)", text, ellipsis, missing)
}

// plain returns the number of bytes at the beginning of b that need no escaping.
func plain(b []byte) int {
	for i, c := range b {
		if c < ' ' || c > '~' || c == '\\' {
			return i
		}
	}
	return len(b)
}

// Visible escapes text like Text, except for backslashes and newlines. It does not change
// parts of the text that are already escaped by Text.
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
			return cut(shown[:before], len(text)-i)
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

// appendPrintable appends the first character of b, and returns its length in b.
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

// appendHex appends n with this number of digits.
func appendHex(text []byte, n uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		text = append(text, "0123456789abcdef"[n>>shift&0xf])
	}
	return text
}
