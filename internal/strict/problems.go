package strict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxProblems of a file are listed, the others only counted.
	maxProblems = 20
	// maxMessageBytes is where a message, which may quote the file, is cut.
	maxMessageBytes = 400
)

// problems gathers what is wrong with one file.
type problems struct {
	file   string
	listed []problem
	others int
}

type problem struct {
	line int // 0 if not known
	text string
}

// add notes what is wrong at a line and a path, each of which may be zero.
func (p *problems) add(line int, path, what string) {
	if len(p.listed) == maxProblems {
		p.others++
		return
	}
	if len(what) > maxMessageBytes {
		what = strings.ToValidUTF8(what[:maxMessageBytes], "") + "..."
	}
	if path != "" {
		what = path + ": " + what
	}
	if line > 0 {
		p.listed = append(p.listed, problem{line, fmt.Sprintf("%s:%d: %s", p.file, line, what)})
	} else {
		p.listed = append(p.listed, problem{line, fmt.Sprintf("%s: %s", p.file, what)})
	}
}

// err returns all problems in the order of their lines, nil if there are none.
func (p *problems) err() error {
	slices.SortStableFunc(p.listed, func(a, b problem) int { return cmp.Compare(a.line, b.line) })
	var errs []error
	for _, problem := range p.listed {
		errs = append(errs, errors.New(problem.text))
	}
	if p.others > 0 {
		errs = append(errs, fmt.Errorf("%s: problems not listed: %d", p.file, p.others))
	}
	return errors.Join(errs...)
}
