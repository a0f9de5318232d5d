package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// page has the table between these two lines.
const (
	page       = "docs/kernels.md"
	tableBegin = "<!-- written by `go run ./test/kernels -write` -->\n"
	tableEnd   = "<!-- end -->\n"
)

// A row is a line of the table: kernel, architecture, release, how monero reads it,
// and a cell a column.
type row []string

// releaseCell is the cell that may change without anything else: a newer patch release.
const releaseCell = 2

func header() row {
	h := row{"kernel", "architecture", "release of the run", "monero reads"}
	for _, c := range columns() {
		h = append(h, string(c))
	}
	return h
}

func (r *result) row() row {
	line := row{r.Name, r.Arch, r.release, r.reads}
	for _, c := range columns() {
		line = append(line, r.works(c))
	}
	return line
}

func (l row) is(other row) bool { return l[0] == other[0] && l[1] == other[1] }

func (l row) String() string { return "| " + strings.Join(l, " | ") + " |\n" }

// split cuts the page at its table.
func split(text string) (before string, rows []row, after string, err error) {
	before, table, ok1 := strings.Cut(text, tableBegin)
	table, after, ok2 := strings.Cut(table, tableEnd)
	if !ok1 || !ok2 {
		return "", nil, "", fmt.Errorf("%s has no place for the table", page)
	}
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i < 2 { // header
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != len(header()) {
			return "", nil, "", fmt.Errorf("%s: the table's line %q has %d cells, not %d", page, line, len(cells), len(header()))
		}
		rows = append(rows, cells)
	}
	return before, rows, after, nil
}

// writeDocs writes the table. Rows of kernels that did not run stay as they are.
func writeDocs(results []*result) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, old, after, err := split(string(text))
	if err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString(header().String() + strings.Repeat("|---", len(header())) + "|\n")
	for _, k := range kernels() {
		key := row{k.Name, k.Arch}
		if i := slices.IndexFunc(results, func(r *result) bool { return r.missing == nil && r.row().is(key) }); i >= 0 {
			table.WriteString(results[i].row().String())
		} else if i := slices.IndexFunc(old, key.is); i >= 0 {
			table.WriteString(old[i].String())
		}
	}
	return os.WriteFile(page, []byte(before+tableBegin+table.String()+tableEnd+after), 0o644)
}

// checkDocs says where the table differs from what was seen, but for the releases.
func checkDocs(results []*result) []string {
	text, err := os.ReadFile(page)
	if err != nil {
		return []string{err.Error()}
	}
	_, claimed, _, err := split(string(text))
	if err != nil {
		return []string{err.Error()}
	}
	return differences(claimed, results)
}

func differences(claimed []row, results []*result) []string {
	var all []string
	for _, r := range results {
		if r.missing != nil {
			continue // said where it is printed
		}
		seen := r.row()
		i := slices.IndexFunc(claimed, seen.is)
		if i < 0 {
			all = append(all, fmt.Sprintf("%s has no line for %s on %s", page, r.Name, r.Arch))
			continue
		}
		for c := range seen {
			if c != releaseCell && seen[c] != untried && claimed[i][c] != seen[c] {
				all = append(all, fmt.Sprintf("%s says %q of %s on %s in the column %q, but it is %q",
					page, claimed[i][c], r.Name, r.Arch, header()[c], seen[c]))
			}
		}
	}
	return all
}
