// Package sanity finds settings and rules that do more than their author can have
// meant: a ban that kills what the node runs on, an exemption that covers the
// containers of strangers. What nobody can mean is refused, what somebody may mean is
// warned of; docs/configuration.md lists both.
package sanity

import (
	"errors"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// maxListed is how many problems are listed, and how many warnings; the others are
// only counted.
const maxListed = 20

// A Warning is of a setting or rule that may be meant, but has consequences that are
// easily overlooked.
type Warning struct {
	Place string // "FILE:LINE: KEY[INDEX]", or the key alone for an option of the command line
	Text  string
}

func (w Warning) String() string { return w.Place + ": " + w.Text }

// Check judges valid settings and their compiled rules. The error has all that is
// refused, a line each.
func Check(c config.Config, m *match.Matcher) ([]Warning, error) {
	f := findings{config: &c}
	f.shortBans(m.Set.Bans)
	f.vitalCommands(m)
	f.allowPatterns(m)
	f.cgroups()
	f.podLabels()
	f.programs()
	f.paths()
	f.killLimit()
	f.logEnv()
	f.detectors()
	if c.ScanInterval == 0 {
		f.warn(c.Place("scanInterval"), "0 turns every scan off: processes that are older than the agent, "+
			"and those whose verdict was lost or could not be made at their start, are never looked for")
	}
	return f.result()
}

// findings gathers what is refused and what is warned of.
type findings struct {
	config   *config.Config
	refused  []error
	warnings []Warning
	// beyond counts what is not listed.
	beyondRefused, beyondWarnings int
}

func (f *findings) refuse(place, format string, args ...any) {
	if len(f.refused) == maxListed {
		f.beyondRefused++
		return
	}
	f.refused = append(f.refused, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
}

func (f *findings) warn(place, format string, args ...any) {
	if len(f.warnings) == maxListed {
		f.beyondWarnings++
		return
	}
	f.warnings = append(f.warnings, Warning{place, fmt.Sprintf(format, args...)})
}

func (f *findings) result() ([]Warning, error) {
	if f.beyondRefused > 0 {
		f.refused = append(f.refused, fmt.Errorf("problems not listed: %d", f.beyondRefused))
	}
	if f.beyondWarnings > 0 {
		f.warnings = append(f.warnings, Warning{"settings and rules", fmt.Sprintf("warnings not listed: %d", f.beyondWarnings)})
	}
	return f.warnings, errors.Join(f.refused...)
}

// place is where a rule stands, as errors of reading a file have it.
func place(o rules.Origin) string {
	return fmt.Sprintf("%s:%d: %s[%d]", o.File, o.Line, o.Key, o.Index)
}

// short cuts a text for a message.
func short(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
