package guard

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/process"
)

// Exempt says by which exemption a process must not be killed: "" for none. The
// error says that it could not be found out before ctx ended. program is the path of its
// program, as it was executed or as /proc has it. Where the exec was not seen, scripts are
// arguments that may be the path of the script that it runs.
func (g *Guard) Exempt(ctx context.Context, p process.Event, program string, scripts ...string) (by string, err error) {
	now := g.now()
	if by := now.program(p.File, p.HostRoot, program); by != "" {
		return by, nil
	}
	if by := g.script(now, p, scripts); by != "" || !now.policy.Exemptions.byCgroup() {
		return by, nil
	}
	f, err := g.judge(ctx, now, p.Cgroup)
	if err == nil {
		// The kernel may still go by the policy before.
		for _, s := range g.inUse()[1:] {
			_, _ = g.judge(ctx, s, p.Cgroup)
		}
	}
	return f.by, err
}

// Exemption names what the kernel has exempted a program by, "" if that holds no more.
// It does not wait.
func (g *Guard) Exemption(file process.FileID, program string, cgroup cgroup.Cgroup) string {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, s := range []*set{g.current, g.before} {
		if s == nil {
			continue
		}
		if by := s.program(file, true, program); by != "" {
			return by
		}
		if by := s.exemption(cgroup); by != "" {
			return by
		}
	}
	return ""
}

// now returns the set in force.
func (g *Guard) now() *set {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.current
}

// A finding is how a cgroup stands, and at which level of its path that is
// decided for all below.
type finding struct {
	standing bpfStanding
	level    int
	by       string // the exemption
}

// judge finds out how the processes of a cgroup stand by a set, and tells the kernel.
func (g *Guard) judge(ctx context.Context, s *set, c cgroup.Cgroup) (finding, error) {
	e := &s.policy.Exemptions
	f := e.unnamed(c)
	trusted := c.Levels
	if c.Container.Contained() {
		trusted = c.Levels[:c.Container.Level+1]
	}
	if pattern, level := matchCgroup(e.Cgroups, trusted); pattern != "" {
		f = finding{bpfStandingEXEMPT_CGROUP, level, "cgroup " + pattern}
	} else if c.Container.PodUID != "" && e.byPod() {
		its, err := g.containers.Lookup(ctx, c.Container)
		if err != nil {
			return finding{}, fmt.Errorf("asking for the pod of %s: %w", printable.Text([]byte(c.Path), 512), err)
		}
		if by := e.pod(its); by != "" {
			f.standing, f.by = bpfStandingEXEMPT_CGROUP, by
		}
	}
	g.remember(c)
	return f, s.mark(c, f)
}

// pod returns the exemption that holds for the pod of a container, or "".
func (e *Exemptions) pod(c *container.Container) string {
	if slices.Contains(e.Namespaces, c.Namespace) {
		return "namespace " + c.Namespace
	}
	for _, label := range e.PodLabels {
		key, value, one := strings.Cut(label, "=")
		if its, there := c.Labels[key]; there && (!one || its == value) {
			return "pod label " + label
		}
	}
	return ""
}

// matchCgroup returns the pattern that matches a cgroup or one above it, and the
// level of that.
func matchCgroup(patterns []string, levels []cgroup.Level) (pattern string, level int) {
	var at strings.Builder
	for i, l := range levels {
		at.WriteString("/" + l.Name)
		for _, p := range patterns {
			if ok, err := path.Match(p, at.String()); ok && err == nil {
				return p, i
			}
		}
	}
	return "", 0
}
