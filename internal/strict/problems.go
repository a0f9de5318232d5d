package strict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxProblems is how many problems of a file are listed. Others are only counted.
	maxProblems = 20
	// maxMessageBytes limits a message, which can quote the file. One lists the names of all parts.
	maxMessageBytes = 500
)

// problems collects the problems of one file.
type problems struct {
	file   string
	listed []problem
	others int
}

type problem struct {
	line int // 0 if not known
	text string
}

// add adds a problem at a line and a path, each of which can be zero.
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

// err returns all problems in the order of their lines.
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
