package main

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A pane is a terminal in the picture.
type pane struct {
	title string
	lines []string
}

// Sizes of the picture in pixels. Each span has its place and a textLength, so that
// columns are aligned whatever monospaced font the viewer has.
const (
	fontSize   = 13
	cellWidth  = 7.8
	lineHeight = 18
	margin     = 14
	titleBar   = 28
	gap        = 12 // between panes
)

// Colours with a contrast of at least 7:1 on the background, which is the picture's own:
// it looks the same on a light and a dark page.
const (
	background = "#0d1117"
	bar        = "#21262d"
	border     = "#30363d"
	plain      = "#e6edf3"
	faint      = "#b1bac4" // keys of JSON
	green      = "#7ee787" // prompts
	red        = "#ffa198" // kills
)

// svg draws panes, one below the other.
func svg(panes ...pane) []byte {
	var body bytes.Buffer
	const width = columns*cellWidth + 2*margin
	y := 0.5
	for _, p := range panes {
		rows := wrap(p.lines)
		height := titleBar + float64(len(rows))*lineHeight + margin
		fmt.Fprintf(&body, `<rect x="0.5" y="%.1f" width="%.0f" height="%.0f" rx="6" fill="%s" stroke="%s"/>`+"\n", y, width-1, height, background, border)
		fmt.Fprintf(&body, `<path d="M0.5 %.1f v-22 a6 6 0 0 1 6-6 h%.0f a6 6 0 0 1 6 6 v22 z" fill="%s" stroke="%s"/>`+"\n", y+titleBar, width-13, bar, border)
		fmt.Fprintf(&body, `<text x="%d" y="%.1f" fill="%s" font-weight="600">%s</text>`+"\n", margin, y+19, plain, html.EscapeString(p.title))
		for i, r := range rows {
			r.draw(&body, y+titleBar+float64(i+1)*lineHeight)
		}
		y += height + gap
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" role="img" xml:space="preserve" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="%d">
<title>A terminal in which two miners are killed, and the log of the agent</title>
%s</svg>
`, width, y-gap+0.5, width, fontSize, body.Bytes())
}

// wrap cuts lines to the width of the terminal, behind a comma where there is one.
func wrap(lines []string) (rows []row) {
	for _, line := range lines {
		text := []rune(line)
		for len(text) > columns {
			end := columns
			for i := columns; i > columns/2; i-- {
				if text[i-1] == ',' {
					end = i
					break
				}
			}
			rows, text = append(rows, colour(string(text[:end]))), text[end:]
		}
		rows = append(rows, colour(string(text)))
	}
	return rows
}

// A span is a part of a line in one colour.
type span struct{ colour, text string }

// A row is a line of the picture.
type row []span

// coloured are the parts of a line that are not plain: a prompt; the shell's word for a
// kill; the agent's; a key of JSON.
var coloured = regexp.MustCompile(`^(\w+@\S+[#$])|^(Killed)$|("killed a process")|("\w+":)`)

func colour(line string) (r row) {
	at := 0
	for _, m := range coloured.FindAllStringSubmatchIndex(line, -1) {
		c := ""
		for i, group := range []string{green, red, red, faint} {
			if m[2*i+2] >= 0 {
				c = group
			}
		}
		r = append(r, span{plain, line[at:m[0]]}, span{c, line[m[0]:m[1]]})
		at = m[1]
	}
	return append(r, span{plain, line[at:]})
}

// draw writes the row with its baseline at y. A span begins at its column.
func (r row) draw(to io.Writer, y float64) {
	column := 0
	for _, s := range r {
		text := strings.TrimLeft(s.text, " ")
		column += len(s.text) - len(text)
		if n := utf8.RuneCountInString(text); n > 0 {
			fmt.Fprintf(to, `<text x="%.1f" y="%.1f" fill="%s" textLength="%.1f">%s</text>`+"\n",
				margin+float64(column)*cellWidth, y, s.colour, float64(n)*cellWidth, html.EscapeString(text))
			column += n
		}
	}
}
