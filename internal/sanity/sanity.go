// Package sanity reports unsafe settings and rules, such as a ban that matches the
// kubelet or an exemption that covers the containers of users. It refuses those without
// a legitimate use and warns about the others; docs/configuration.md lists both.
package sanity

import (
	"errors"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/printable"
)

// maxListed is how many errors and how many warnings are listed. Others are only counted.
const maxListed = 20

// A Warning is about a setting or rule that can be intended, but has consequences that
// its author may have overlooked.
type Warning struct {
	Place string // "FILE:LINE: KEY[INDEX]", or only the key for a flag
	Text  string
}

func (w Warning) String() string { return w.Place + ": " + w.Text }

// Check checks valid settings and their compiled rules. The error has one line for each
// that is refused.
func Check(c config.Config, m *match.Matcher) ([]Warning, error) {
	f := findings{config: &c}
	f.shortBans(m.Set.Bans)
	f.addresses(m.Set.Addresses)
	f.unused(m.Set)
	f.vitalCommands(m)
	f.environments(m.Set.Bans)
	f.allowPatterns(m)
	f.cgroups()
	f.podLabels()
	f.programs()
	f.paths()
	f.killLimit()
	f.logEnv()
	f.detectors()
	if c.ScanInterval == 0 {
		f.warn(c.Place("scanInterval"), "0 disables scans: execwhacker does not detect miners "+
			"that started before the agent or before a change of the rules")
	}
	return f.result()
}

// findings collects errors and warnings.
type findings struct {
	config   *config.Config
	refused  []error
	warnings []Warning
	// Numbers of those that are not listed.
	unlistedRefused, unlistedWarnings int
}

func (f *findings) refuse(place, format string, args ...any) {
	if len(f.refused) == maxListed {
		f.unlistedRefused++
		return
	}
	f.refused = append(f.refused, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...)))
}

func (f *findings) warn(place, format string, args ...any) {
	if len(f.warnings) == maxListed {
		f.unlistedWarnings++
		return
	}
	f.warnings = append(f.warnings, Warning{place, fmt.Sprintf(format, args...)})
}

func (f *findings) result() ([]Warning, error) {
	if f.unlistedRefused > 0 {
		f.refused = append(f.refused, fmt.Errorf("problems not listed: %d", f.unlistedRefused))
	}
	if f.unlistedWarnings > 0 {
		f.warnings = append(f.warnings, Warning{"settings and rules", fmt.Sprintf("warnings not listed: %d", f.unlistedWarnings)})
	}
	return f.warnings, errors.Join(f.refused...)
}

// short truncates a text for a message.
func short(text string) string { return printable.Short(text, 120) }
