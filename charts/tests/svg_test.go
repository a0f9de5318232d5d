package chart

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
	"time"
)

// A panel is a number, or lines over time if it has any.
type panel struct {
	title  string
	unit   string
	bars   bool // stacked
	number float64
	lines  []line
}

// A line has a value for each scrape, NaN for none.
type line struct {
	name   string
	values []float64
}

// most is the largest value, or 0.
func (l line) most() (most float64) {
	for _, v := range l.values {
		if v > most {
			most = v
		}
	}
	return most
}

// Sizes of the picture in pixels.
const (
	width        = 954 // eight numbers, or three panels with lines
	gap          = 6
	numberHeight = 64
	plotTop      = 30
	plotHeight   = 110
	legendHeight = 16
	letter       = 6.3 // of an average letter
)

// Colours with a contrast of at least 7:1 on the background, which is the picture's own, so that
// it looks the same on a light and a dark page.
const (
	background = "#0d1117"
	border     = "#30363d"
	bright     = "#e6edf3"
	faint      = "#b1bac4"
)

func lineColour(i int) string {
	all := []string{"#7ee787", "#ffa657", "#79c0ff", "#ffa198", "#d2a8ff", "#e3b341", "#56d4dd", "#f778ba", faint}
	return all[i%len(all)]
}

// draw draws numbers and then lines, from left to right, of values at scrapes from 0 to last.
func draw(panels []panel, last time.Duration) []byte {
	var body bytes.Buffer
	x, y, next := 0, 0, 0
	for i, p := range panels {
		own := p.width() + gap
		if x+own > width+gap || i > 0 && own != panels[i-1].width()+gap {
			x, y = 0, next
		}
		fmt.Fprintf(&body, `<g transform="translate(%d %d)">`+"\n", x, y)
		height := p.draw(&body, last)
		body.WriteString("</g>\n")
		x, next = x+own, max(next, y+height+gap)
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" role="img" font-family="system-ui, 'DejaVu Sans', sans-serif" font-size="11">
<title>Panels of the dashboard</title>
<rect width="100%%" height="100%%" fill="%s"/>
%s</svg>
`, width, next-gap, width, background, body.Bytes())
}

func (p panel) width() int {
	if p.lines == nil {
		return (width+gap)/8 - gap
	}
	return (width+gap)/3 - gap
}

// write writes a text with its baseline at y.
func write(to *bytes.Buffer, x, y float64, anchor, colour, text string) {
	fmt.Fprintf(to, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>`+"\n", x, y, anchor, colour, html.EscapeString(text))
}

// draw draws a panel at 0, 0 and returns its height.
func (p panel) draw(to *bytes.Buffer, last time.Duration) (height int) {
	width := float64(p.width())
	if p.lines == nil {
		p.frame(to, width, numberHeight)
		fmt.Fprintf(to, `<text x="%.1f" y="50" text-anchor="middle" fill="%s" font-size="24">%.0f</text>`+"\n", width/2, lineColour(0), p.number)
		return numberHeight
	}
	const left, bottom = 56, plotTop + plotHeight
	right := width - 18
	legend := []float64{left} // the end of each of its lines
	for _, l := range p.lines {
		need := 24 + letter*float64(len(l.name))
		if at := len(legend) - 1; legend[at]+need > width && legend[at] > left {
			legend = append(legend, left)
		}
		legend[len(legend)-1] += need
	}
	height = bottom + 22 + len(legend)*legendHeight + 4
	p.frame(to, width, height)

	step, most := scale(p.highest())
	up := func(v float64) float64 { return bottom - v/most*plotHeight }
	for v := 0.; v <= most*1.001; v += step {
		fmt.Fprintf(to, `<path d="M%d %.1f H%.1f" stroke="%s"/>`+"\n", left, up(v), right, border)
		write(to, left-6, up(v)+4, "end", faint, inUnit(v, p.unit))
	}
	for at := time.Duration(0); at <= last; at += last / 3 {
		write(to, left+float64(at)/float64(last)*(right-left), bottom+14, "middle", faint, fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60))
	}
	each := (right - left) / float64(last/scrapeEvery)
	below := make([]float64, last/scrapeEvery+1) // of the bars, what is stacked so far
	lx, ly := float64(left), float64(bottom+30)
	for i, l := range p.lines {
		if p.bars {
			l.stack(to, left, each, up, below, lineColour(i))
		} else {
			l.trace(to, left, each, up, lineColour(i))
		}
		need := 24 + letter*float64(len(l.name))
		if lx+need > width && lx > left {
			lx, ly = left, ly+legendHeight
		}
		fmt.Fprintf(to, `<path d="M%.1f %.1f h10" stroke="%s" stroke-width="3"/>`+"\n", lx, ly-4, lineColour(i))
		write(to, lx+14, ly, "start", bright, l.name)
		lx += need
	}
	return height
}

func (p panel) frame(to *bytes.Buffer, width float64, height int) {
	fmt.Fprintf(to, `<rect x="0.5" y="0.5" width="%.0f" height="%d" rx="3" fill="none" stroke="%s"/>`+"\n", width-1, height-1, border)
	write(to, 10, 18, "start", bright, p.title)
}

// highest is the largest value of a line, or of a stack.
func (p panel) highest() (highest float64) {
	stacks := make([]float64, len(p.lines[0].values))
	for _, l := range p.lines {
		highest = max(highest, l.most())
		for i, v := range l.values {
			if p.bars && !math.IsNaN(v) {
				stacks[i] += v
				highest = max(highest, stacks[i])
			}
		}
	}
	return highest
}

// stack draws a bar for each value, on those below, and adds it to them.
func (l line) stack(to *bytes.Buffer, left, each float64, up func(float64) float64, below []float64, colour string) {
	for i, v := range l.values {
		if v > 0 {
			fmt.Fprintf(to, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n",
				left+(float64(i)-0.8)*each, up(below[i]+v), 0.8*each, up(below[i])-up(below[i]+v), colour)
			below[i] += v
		}
	}
}

// trace connects values that follow each other.
func (l line) trace(to *bytes.Buffer, left, each float64, up func(float64) float64, colour string) {
	to.WriteString(`<path d="`)
	command := "M"
	for i, v := range l.values {
		if math.IsNaN(v) {
			command = "M"
			continue
		}
		fmt.Fprintf(to, "%s%.1f %.1f", command, left+float64(i)*each, up(v))
		command = "L"
	}
	fmt.Fprintf(to, `" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", colour)
}

// scale is a round distance of the lines of a scale, and the value of its last one.
func scale(highest float64) (step, most float64) {
	if highest == 0 {
		return 1, 1
	}
	step = math.Pow(10, math.Floor(math.Log10(highest/4)))
	for _, round := range []float64{1, 2, 5, 10} {
		if highest <= 4*round*step {
			step *= round
			break
		}
	}
	return step, step * math.Ceil(highest/step)
}

// inUnit is a value in a unit of Grafana.
func inUnit(v float64, unit string) string {
	switch unit {
	case "percentunit":
		return short(v*100) + " %"
	case "bytes":
		return short(v/1e6) + " MB"
	case "s":
		return short(v*1e3) + " ms"
	case "ops":
		return short(v) + "/s"
	}
	return short(v)
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }
