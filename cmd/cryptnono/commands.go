package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cryptnono/cryptnono/internal/commands"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/secrets"
)

// A ruling is the verdict of rules on a command. docs/cli.md describes the keys.
type ruling struct {
	Action  string `json:"action"`
	Matched string `json:"matched,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Allowed string `json:"allowedby,omitempty"`
}

// The actions of lines without a verdict.
const (
	skipped = "skipped" // it rightly has no command
	invalid = "error"
)

func newRuling(v match.Verdict) ruling {
	r := ruling{Action: [...]string{match.NoMatch: "none", match.Allowed: "allowed", match.Observed: "observed", match.Banned: "killed"}[v.Outcome]}
	if v.Ban != nil {
		r.Matched, r.Rule = v.Ban.Text, v.Ban.Origin.String()
	}
	r.Allowed = v.AllowedBy()
	return r
}

// A result is the verdict on a line.
type result struct {
	Line int `json:"line"`
	ruling
	Incomplete bool    `json:"incomplete,omitempty"`
	Error      string  `json:"error,omitempty"`
	Against    *ruling `json:"against,omitempty"`
	Changed    bool    `json:"changed,omitempty"`
}

// counts are the numbers of commands by action.
type counts struct {
	Killed   int `json:"killed"`
	Observed int `json:"observed"`
	Allowed  int `json:"allowed"`
	None     int `json:"none"`
}

func (c *counts) add(o match.Outcome) { *[]*int{&c.None, &c.Allowed, &c.Observed, &c.Killed}[o]++ }

// String returns the numbers for people.
func (c *counts) String() string {
	return fmt.Sprintf("%d would be killed, %d observed, %d allowed, %d match no rule", c.Killed, c.Observed, c.Allowed, c.None)
}

// A summary is about all lines.
type summary struct {
	Lines      int `json:"lines"`
	Commands   int `json:"commands"`
	Incomplete int `json:"incomplete"`
	Skipped    int `json:"skipped"`
	Errors     int `json:"errors"`
	counts
	Rules   []ruleCount `json:"rules"`
	Against *counts     `json:"against,omitempty"`
	Changed *int        `json:"changed,omitempty"`
}

// A ruleCount is the number of commands for which a rule decides.
type ruleCount struct {
	ruling
	Commands int `json:"commands"`
}

// A checker rules on many commands.
type checker struct {
	rules, against *match.Matcher // against may be nil
	json           bool
	name           string // of the input
	out            *bufio.Writer
	err            io.Writer
	expressions    match.Expressions

	summary summary
	byRule  map[ruling]int
}

// run rules on each line of r and prints the results and a summary. The errors have the exit status
// of check.
func (c *checker) run(r io.Reader) error {
	c.byRule = make(map[ruling]int)
	if c.against != nil {
		c.summary.Against, c.summary.Changed = new(counts), new(int)
	}
	readErr := commands.Read(r, c.line)
	if err := errors.Join(c.end(), c.out.Flush()); err != nil {
		return err
	}
	switch s := &c.summary; {
	case readErr != nil:
		return statusError{exitUsage, fmt.Errorf("check: %w", readErr)}
	case s.Errors > 0:
		return statusError{exitUsage, fmt.Errorf("check: %d of %d lines of %s cannot be read as commands", s.Errors, s.Lines, c.name)}
	case s.Killed > 0:
		return statusError{status: exitWouldKill}
	}
	return nil
}

// line rules on a line and prints the result.
func (c *checker) line(number int, command commands.Command, err error) error {
	s := &c.summary
	s.Lines++
	r := result{Line: number}
	switch {
	case errors.Is(err, commands.ErrNone):
		s.Skipped++
		r.Action = skipped
		return c.print(r, "")
	case err != nil:
		s.Errors++
		r.Action, r.Error = invalid, err.Error()
		return errors.Join(c.print(r, ""), c.out.Flush(), c.complain(number, err))
	}
	s.Commands++
	v := c.rules.Judge(command.Path, command.Area)
	s.add(v.Outcome)
	r.ruling, r.Incomplete = newRuling(v), command.Incomplete
	if v.Ban != nil {
		c.byRule[r.ruling]++
		r.Matched = matched(&c.expressions, v, command.Path, command.Area)
	}
	if command.Incomplete {
		s.Incomplete++
	}
	told, text := v.Ban != nil, explain(v, r.Matched)
	if c.against != nil {
		before := c.against.Judge(command.Path, command.Area)
		s.Against.add(before.Outcome)
		r.Against, r.Changed = new(newRuling(before)), before.Outcome != v.Outcome
		if told = r.Changed; r.Changed {
			*s.Changed++
			text += "; before: " + explain(before, matched(&c.expressions, before, command.Path, command.Area))
		}
	}
	if !told {
		return c.print(r, "")
	}
	return c.print(r, fmt.Sprintf("%d: %s: %s\n", number, shown(command), text))
}

// matched returns what of a command the ban of a verdict matches, as the log has it; "" without one.
func matched(e *match.Expressions, v match.Verdict, path, area []byte) string {
	if v.Ban == nil {
		return ""
	}
	return report.Matched(e.Matched(v.Ban, path, secrets.Hide(area, false)))
}

// print prints a value as JSON, or else the text.
func (c *checker) print(value any, text string) error {
	if !c.json {
		_, err := c.out.WriteString(text)
		return err
	}
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

func (c *checker) complain(number int, problem error) error {
	_, err := fmt.Fprintf(c.err, "cryptnono: %s:%d: %v\n", c.name, number, problem)
	return err
}

// shown returns a command for a terminal.
func shown(c commands.Command) string {
	const limit = 160
	if len(c.Area) == 0 {
		return printable.Text(c.Path, limit)
	}
	return printable.Args(secrets.Hide(c.Area, false), 0, limit)
}

// end prints the summary.
func (c *checker) end() error {
	s := &c.summary
	s.Rules = []ruleCount{}
	for r, n := range c.byRule {
		s.Rules = append(s.Rules, ruleCount{r, n})
	}
	slices.SortFunc(s.Rules, func(a, b ruleCount) int {
		return cmp.Or(cmp.Compare(b.Commands, a.Commands), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Allowed, b.Allowed))
	})
	return c.print(map[string]*summary{"summary": s}, s.String())
}

// String returns the summary for people.
func (s *summary) String() string {
	var b strings.Builder
	if len(s.Rules) > 0 {
		t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "\nCOMMANDS\tACTION\tMATCHED\tRULE")
		for _, r := range s.Rules {
			place := r.Rule
			if r.Allowed != "" {
				place += ", allowed by " + r.Allowed
			}
			fmt.Fprintf(t, "%8d\t%s\t%q\t%s\n", r.Commands, r.Action, r.Matched, place)
		}
		_ = t.Flush() // to memory
	}
	fmt.Fprintf(&b, "\n%d commands: %v\n", s.Commands, &s.counts)
	if s.Against != nil {
		fmt.Fprintf(&b, "before: %v; %d verdicts change\n", s.Against, *s.Changed)
	}
	if s.Incomplete > 0 {
		fmt.Fprintf(&b, "%d are incomplete: what the log cut or hid is not checked\n", s.Incomplete)
	}
	if s.Skipped > 0 {
		fmt.Fprintf(&b, "%d other lines are skipped\n", s.Skipped)
	}
	return b.String()
}
