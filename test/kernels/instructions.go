package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// record is the file with the number of instructions that the verifier processes for each program
// on each kernel. Its limit is a million.
const record = "test/kernels/verified-instructions.tsv"

// A change of more than a tenth is reported.
const noted = 0.1

// A count is a line of the record.
type count struct {
	program, kernel, arch string
	instructions          int
}

func (c count) key() string { return c.program + "\t" + c.kernel + "\t" + c.arch }

func counts(results []*result) map[string]count {
	all := make(map[string]count)
	for _, r := range results {
		for program, n := range r.instructions {
			c := count{program, r.Name, r.Arch, n}
			all[c.key()] = c
		}
	}
	return all
}

func parseRecord(text string) (map[string]count, error) {
	all := make(map[string]count)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		var c count
		if _, err := fmt.Sscan(line, &c.program, &c.kernel, &c.arch, &c.instructions); err != nil {
			return nil, fmt.Errorf("reading the line %q: %w", line, err)
		}
		all[c.key()] = c
	}
	return all, nil
}

func readRecord() (map[string]count, error) {
	text, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseRecord(string(text))
}

// writeInstructions writes the counts to the record. Those of kernels that did not run are kept.
func writeInstructions(results []*result) error {
	all, err := readRecord()
	if err != nil {
		return err
	}
	ran := func(c count) bool {
		return slices.ContainsFunc(results, func(r *result) bool {
			return r.missing == nil && r.Name == c.kernel && r.Arch == c.arch
		})
	}
	maps.DeleteFunc(all, func(_ string, c count) bool { return ran(c) })
	if all == nil {
		all = make(map[string]count)
	}
	maps.Copy(all, counts(results))
	text := new(bytes.Buffer)
	fmt.Fprintln(text, "# Written by `go run ./test/kernels -write`: program, kernel, architecture, verified instructions.")
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(text, "%s\t%d\n", key, all[key].instructions)
	}
	return os.WriteFile(record, text.Bytes(), 0o644)
}

// compareInstructions returns the counts that differ by more than a tenth from the record.
func compareInstructions(w io.Writer, results []*result) {
	before, err := readRecord()
	if err != nil {
		fmt.Fprintf(w, "VERIFIED INSTRUCTIONS cannot be compared: %v\n", err)
		return
	}
	now := counts(results)
	most := 0
	for _, key := range slices.Sorted(maps.Keys(now)) {
		c, known := before[key]
		n := now[key].instructions
		most = max(most, n)
		name := strings.ReplaceAll(key, "\t", " ")
		switch {
		case !known:
			fmt.Fprintf(w, "VERIFIED INSTRUCTIONS not recorded yet: %s: %d\n", name, n)
		case changed(c.instructions, n):
			fmt.Fprintf(w, "VERIFIED INSTRUCTIONS CHANGED by %+.0f %%: %s: from %d to %d\n",
				100*(float64(n)/float64(c.instructions)-1), name, c.instructions, n)
		}
	}
	fmt.Fprintf(w, "verified instructions: %d counts compared with %s; the largest is %d, the kernel allows 1000000\n", len(now), record, most)
}

func changed(before, now int) bool {
	return float64(max(before-now, now-before)) > noted*float64(before)
}
