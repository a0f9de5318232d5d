package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// A table is printed as aligned Markdown.
type table struct {
	title string
	notes []string // below the table
	rows  [][]string
}

func newTable(title string, columns ...string) *table {
	return &table{title: title, rows: [][]string{columns}}
}

// add appends a row of values, each printed as fmt does.
func (t *table) add(values ...any) {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = fmt.Sprint(v)
	}
	t.rows = append(t.rows, row)
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

func (t *table) print() {
	widths := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Printf("\n### %s\n\n", t.title)
	for n, row := range t.rows {
		for i, cell := range row {
			fmt.Printf("| %*s ", widths[i], cell)
		}
		fmt.Println("|")
		if n == 0 {
			for _, w := range widths {
				fmt.Printf("|%s:", strings.Repeat("-", w+1))
			}
			fmt.Println("|")
		}
	}
	for _, note := range t.notes {
		fmt.Printf("\n%s\n", note)
	}
}

// printMachine prints the CPU, the kernel and the Go version.
func printMachine() {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return
	}
	cpu := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(info) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == "model name" {
			cpu = string(bytes.TrimSpace(value))
			break
		}
	}
	fmt.Printf("%d × %s, Linux %s, %s\n", runtime.NumCPU(), cpu, unix.ByteSliceToString(name.Release[:]), runtime.Version())
}

// quantile returns the value below which a share q of the values is; 0.5 is the median.
func quantile[T int64 | float64](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}
