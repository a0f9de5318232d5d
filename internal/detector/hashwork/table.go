package hashwork

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
)

const maxColumn = 40 // characters of a name in the table

// table returns the frame for people, with at most height lines of width characters; 0 for no
// limit.
func (f frame) table(width, height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %.1f s: %d processes computed", f.Time.Format("15:04:05Z"), f.Seconds, len(f.Processes)+f.Others)
	if f.Others > 0 {
		fmt.Fprintf(&b, ", %d are shown", len(f.Processes))
	}
	if f.Lost > 0 {
		fmt.Fprintf(&b, "; %d samples lost", f.Lost)
	}
	b.WriteString("\n")
	if len(f.Processes) > 0 {
		f.rows(&b)
	}
	if width == 0 {
		return b.String()
	}
	var cut strings.Builder
	for i, line := range slices.Collect(strings.Lines(b.String())) {
		if height > 0 && i == height {
			break
		}
		line = strings.TrimSuffix(line, "\n")
		cut.WriteString(shorten(line, width) + "\n")
	}
	return cut.String()
}

func (f frame) rows(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "CONTAINER\tPID\tUSER\tCOMMAND\tCPU%%\tCPU-SECONDS\tANON%%\tREAD\tWRITTEN\tCONN\tWORDS/%d,%d,%d\tWALKS/%v\tHOTTEST FILE\n",
		f.Thresholds.Protocol, f.Thresholds.Algorithm, f.Thresholds.Constants, f.Thresholds.Walks)
	var in *totals
	for _, r := range f.Processes {
		if r.in != in {
			if in = r.in; in.Processes > 1 {
				fmt.Fprintf(t, "%s\tall %d\t-\t-\t%.1f\t%.1f\t-\t%s\t%s\t%d\t-\t-\t-\n",
					in.name(), in.Processes, in.CPUPercent, in.CPUSeconds, amount(in.Read), amount(in.Written), in.Connections)
			}
		}
		r.write(t)
	}
	_ = t.Flush() // to memory
}

// write writes the line of a process.
func (r *row) write(t *tabwriter.Writer) {
	anonymous, read, written, connections, words, walks := "-", "-", "-", "-", "-", "-"
	if r.Anonymous != nil {
		anonymous = fmt.Sprintf("%.0f", 100**r.Anonymous)
	}
	if m := r.Moved; m != nil {
		read, written, connections = amount(m.Read), amount(m.Written), strconv.Itoa(int(m.Connections))
		if m.More {
			connections += "+"
		}
	}
	if w := r.Words; w != nil {
		words = fmt.Sprintf("%d,%d,%d", w.Protocol, w.Algorithm, w.Constant)
		if w.Miner() {
			words += "!"
		}
	}
	if s := r.Scratchpad; s != nil {
		walks = fmt.Sprintf("%.2f", s.Walks)
		if s.Walks >= scratchpad.MinWalks {
			walks += "!"
		}
	}
	fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
		r.name(), r.PID, r.UID, cmp.Or(r.Comm, "-"), r.CPUPercent, r.CPUSeconds, anonymous, read, written, connections, words, walks, r.hottest())
}

// hottest returns the hottest file, with its marks.
func (r *row) hottest() string {
	h := r.Hottest
	switch {
	case h == nil && r.Anonymous == nil:
		return "-"
	case h == nil:
		return "(memory)"
	}
	text := strings.TrimSuffix(h.File, " (deleted)")
	if h.Memfd {
		text += " [memfd]"
	}
	if h.Deleted {
		text += " [deleted]"
	}
	if h.Writable {
		text += " [all may write]"
	}
	return text
}

// name returns the shortest text that names a container, or the end of the path of a cgroup.
func (p place) name() string {
	var parts []string
	for _, part := range []string{p.Namespace, p.Pod, p.Container} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	switch {
	case len(parts) > 0:
		return shorten(strings.Join(parts, "/"), maxColumn)
	case p.ContainerID != "":
		return shorten(cmp.Or(p.NestedID, p.ContainerID), 12)
	}
	runes := []rune(cmp.Or(p.Cgroup, "?"))
	if len(runes) > maxColumn {
		return "…" + string(runes[len(runes)-maxColumn+1:])
	}
	return string(runes)
}

// shorten returns the first characters of a text.
func shorten(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:max(most-1, 0)]) + "…"
}

// amount returns a number of bytes with a unit.
func amount(n uint64) string {
	const units = "KMGTPE"
	if n < 1000 {
		return strconv.FormatUint(n, 10)
	}
	x, i := float64(n)/1000, 0
	for ; x >= 999.5; i++ {
		x /= 1000
	}
	if x < 9.95 {
		return fmt.Sprintf("%.1f%c", x, units[i])
	}
	return fmt.Sprintf("%.0f%c", x, units[i])
}
