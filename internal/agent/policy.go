package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/sanity"
)

// A Policy is the settings and the compiled rules.
type Policy struct {
	config.Config
	Matcher *match.Matcher
	// Warnings are about unsafe settings and rules.
	Warnings []sanity.Warning
	// Refused are the rule files that CompileGood has left out.
	Refused []rules.File
	// version is that of the files from which the policy was read; 0 if they changed
	// meanwhile.
	version filesVersion
}

// forDetector returns a detector's part of the policy.
func (p *Policy) forDetector(k detector.Kind) detector.Policy {
	return detector.Policy{
		Settings: p.Detectors[k.Name], Observe: p.Action == rules.Observe, Matcher: p.Matcher,
		ScanInterval: p.ScanInterval, LogEnv: p.LogEnv, LogExecs: p.LogLevel == slog.LevelDebug,
	}
}

// ForDetector returns a detector's part of the policy.
func (p *Policy) ForDetector(k detector.Kind) detector.Policy { return p.forDetector(k) }

// killLimit returns the limits of kills, with those that are counted for escalations.
func (p *Policy) killLimit() killlimit.Limits {
	limits := p.KillLimit
	limits.Counted = p.Escalation.Counted()
	return limits
}

// otherActions returns the actions of those of these detectors that have another one in force than
// the agent, which is the most that each does.
func (p *Policy) otherActions(detectors []string) map[string]string {
	others := make(map[string]string)
	if p.Action == rules.Observe {
		return others
	}
	for _, name := range detectors {
		for _, s := range p.Detectors[name].Table() {
			if action, ok := s.Default.(string); ok && s.Key == "action" && action != string(p.Action) {
				others[name] = action
			}
		}
	}
	return others
}

// canReplace returns an error if a reload cannot replace old by p.
func (p *Policy) canReplace(old *Policy) error {
	var errs []error
	fixed := func(key string, same bool) {
		if !same {
			errs = append(errs, errors.New(key+": cannot change while the agent runs, restart it"))
		}
	}
	fixed("listen", p.Listen == old.Listen)
	fixed("listenTokenFile", p.ListenTokenFile == old.ListenTokenFile)
	fixed("pins", p.Pins == old.Pins)
	fixed("nodeName", p.NodeName == old.NodeName)
	fixed("logAnnotations", slices.Equal(p.Annotations, old.Annotations))
	fixed("containers", p.Containers.Equal(old.Containers))
	return errors.Join(errs...)
}

// lost returns the problems of rule files that p leaves out and old does not, or of which p leaves out an allow pattern
// that old has: without it, more would be killed.
func (p *Policy) lost(old *Policy) error {
	var errs []error
	allowed := make(map[string]bool)
	for _, a := range p.allowed() {
		allowed[a.Expr] = true
	}
	for _, f := range p.Refused {
		if !slices.ContainsFunc(old.Refused, func(o rules.File) bool { return o.Path == f.Path }) {
			errs = append(errs, f.Err)
			continue
		}
		for _, a := range old.allowed() {
			if a.Origin.File == f.Path && !allowed[a.Expr] {
				errs = append(errs, f.Err, fmt.Errorf("%s: an allow pattern that is in effect would be lost: %q", f.Path, a.Expr))
				break
			}
		}
	}
	return errors.Join(errs...)
}

// allowed returns the allow patterns in effect.
func (p *Policy) allowed() []rules.Pattern {
	if p.Matcher == nil {
		return nil
	}
	return p.Matcher.Set.Allowed
}

// refusal returns the problems of the rule files that p leaves out, or nil.
func (p *Policy) refusal() error { return p.lost(&Policy{}) }

// hash identifies the settings and rules, on all machines that have the same.
func (p *Policy) hash() (string, error) {
	c := p.Config
	c.Places, c.NodeName = nil, ""
	h := sha256.New()
	err := errors.Join(json.NewEncoder(h).Encode(c), p.Matcher.Set.Encode(h))
	return hex.EncodeToString(h.Sum(nil)[:6]), err
}

// warn logs the rule files that are left out, the notices and the warnings, one line each.
func (p *Policy) warn(log *slog.Logger) {
	for _, f := range p.Refused {
		log.Error("rule file not in effect", "file", f.Path, "err", f.Err)
	}
	for _, n := range p.Notices {
		log.Warn("notice about the settings", "notice", n)
	}
	for _, w := range p.Warnings {
		log.Warn("unsafe setting or rule", "place", w.Place, "why", w.Text)
	}
}
