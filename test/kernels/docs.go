package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// page is the document with the tables.
const page = "docs/kernels.md"

// tableEnd is the line after a table.
const tableEnd = "<!-- end -->\n"

// A table of the page. Its lines begin with a kernel's name and architecture.
type table struct {
	begin  string // the line before it
	header row
	row    func(*result) row
	// free is the cell that may differ: the release, which changes with each patch.
	free int
	same func(claimed, seen string) bool // of other cells
}

// worksTable has what works on each kernel.
func worksTable() table {
	h := row{"kernel", "architecture", "release of the run", "monero reads"}
	for _, c := range columns() {
		h = append(h, string(c))
	}
	return table{
		begin:  "<!-- written by `go run ./test/kernels -write` -->\n",
		header: h,
		row: func(r *result) row {
			line := row{r.Name, r.Arch, r.release, r.reads}
			for _, c := range columns() {
				line = append(line, r.works(c))
			}
			return line
		},
		free: 2,
		same: func(claimed, seen string) bool { return claimed == seen },
	}
}

// tableTries is the number of tries of a trick without a number in the table.
const tableTries = 1000

// tricksTable has for each trick how many programs lived. The number is random and depends on the
// number of tries, so only zero and not zero are compared.
func tricksTable() table {
	h := row{"kernel", "architecture"}
	h = append(h, tricks()...)
	return table{
		begin:  "<!-- tricks, written by `go run ./test/kernels -write` -->\n",
		header: h,
		row: func(r *result) row {
			line := row{r.Name, r.Arch}
			for _, name := range tricks() {
				lived := strings.TrimSuffix(r.tricks[name], fmt.Sprintf(" of %d", tableTries))
				line = append(line, cmp.Or(lived, untried))
			}
			return line
		},
		free: -1,
		same: func(claimed, seen string) bool { return none(claimed) == none(seen) },
	}
}

// none reports whether no program lived according to a cell.
func none(cell string) bool {
	lived, _, _ := strings.Cut(cell, " of ")
	return lived == "0"
}

func tables() []table { return []table{worksTable(), tricksTable()} }

// A row is a line of a table.
type row []string

func (l row) is(other row) bool { return l[0] == other[0] && l[1] == other[1] }

func (l row) String() string { return "| " + strings.Join(l, " | ") + " |\n" }

// split cuts the page at the table.
func (tb table) split(text string) (before string, rows []row, after string, err error) {
	before, table, ok1 := strings.Cut(text, tb.begin)
	table, after, ok2 := strings.Cut(table, tableEnd)
	if !ok1 || !ok2 {
		return "", nil, "", fmt.Errorf("%s has no place for the table of %s", page, strings.Join(tb.header, ", "))
	}
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i < 2 { // header
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if len(cells) != len(tb.header) {
			return "", nil, "", fmt.Errorf("%s: the table's line %q has %d cells, not %d", page, line, len(cells), len(tb.header))
		}
		rows = append(rows, cells)
	}
	return before, rows, after, nil
}

// writeDocs writes the tables. Rows of kernels that did not run are not changed.
func writeDocs(results []*result) error {
	read, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	text := string(read)
	for _, tb := range tables() {
		if text, err = tb.write(text, results); err != nil {
			return err
		}
	}
	return os.WriteFile(page, []byte(text), 0o644)
}

// write returns the page with the table of the results.
func (tb table) write(page string, results []*result) (string, error) {
	before, old, after, err := tb.split(page)
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	lines.WriteString(tb.header.String() + strings.Repeat("|---", len(tb.header)) + "|\n")
	for _, k := range kernels() {
		key := row{k.Name, k.Arch}
		if i := slices.IndexFunc(results, func(r *result) bool { return r.missing == nil && tb.row(r).is(key) }); i >= 0 {
			lines.WriteString(tb.row(results[i]).String())
		} else if i := slices.IndexFunc(old, key.is); i >= 0 {
			lines.WriteString(old[i].String())
		}
	}
	return before + tb.begin + lines.String() + tableEnd + after, nil
}

// checkDocs returns the differences between the tables and the results, except in the releases.
// Results of tests that did not run are not compared.
func checkDocs(results []*result) []string {
	text, err := os.ReadFile(page)
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, tb := range tables() {
		_, claimed, _, err := tb.split(string(text))
		if err != nil {
			return append(all, err.Error())
		}
		all = append(all, tb.differences(claimed, results)...)
	}
	return all
}

func (tb table) differences(claimed []row, results []*result) []string {
	var all []string
	for _, r := range results {
		if r.missing != nil {
			continue // reported by print
		}
		seen := tb.row(r)
		i := slices.IndexFunc(claimed, seen.is)
		if i < 0 {
			all = append(all, fmt.Sprintf("%s has no line for %s on %s", page, r.Name, r.Arch))
			continue
		}
		for c := range seen {
			if c != tb.free && seen[c] != untried && claimed[i][c] != untried && !tb.same(claimed[i][c], seen[c]) {
				all = append(all, fmt.Sprintf("%s says %q of %s on %s in the column %q, but it is %q",
					page, claimed[i][c], r.Name, r.Arch, tb.header[c], seen[c]))
			}
		}
	}
	return all
}
