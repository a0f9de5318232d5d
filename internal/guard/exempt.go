package guard

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/process"
)

// Exempt says by which exemption a process must not be killed: "" for none. The
// error says that it could not be found out before ctx ended. program is the path
// as it was executed, or as /proc has it.
func (g *Guard) Exempt(ctx context.Context, pid int, program string, cgroup process.Cgroup) (by string, err error) {
	if g.exemptions().program(program) != "" {
		if its, err := process.MountsOf(pid); err != nil || its != g.hostMounts {
			program = ""
		}
	}
	return g.Exemption(ctx, program, cgroup)
}

// Exemption is Exempt for a program that is in the host's mount namespace, if it is
// exempt.
func (g *Guard) Exemption(ctx context.Context, program string, cgroup process.Cgroup) (by string, err error) {
	e := g.exemptions()
	if by := e.program(program); by != "" || !e.byCgroup() {
		return by, nil
	}
	f, err := g.judge(ctx, cgroup)
	return f.by, err
}

func (g *Guard) exemptions() *Exemptions {
	g.mu.RLock()
	defer g.mu.RUnlock()
	e := g.policy.Exemptions
	return &e
}

// program returns the exemption that holds for a program of the host, or "".
func (e *Exemptions) program(path string) string {
	if slices.Contains(e.Programs, path) {
		return "program " + path
	}
	return ""
}

// A finding is how a cgroup stands, and at which level of its path that is
// decided for all below.
type finding struct {
	standing bpfStanding
	level    int
	by       string // the exemption
}

// judge finds out how the processes of a cgroup stand, and tells the kernel.
func (g *Guard) judge(ctx context.Context, c process.Cgroup) (finding, error) {
	g.mu.RLock()
	e, version := g.policy.Exemptions, g.version
	g.mu.RUnlock()

	cgroup := c.Path()
	place, contained := g.containers.Parse(cgroup)
	f := finding{bpfStandingHOST_CGROUP, c.Depth - 1, ""}
	trusted := c.Levels
	if contained {
		f = finding{bpfStandingCONTAINER_CGROUP, place.Level, ""}
		trusted = c.Levels[:place.Level+1]
	}
	if pattern, level := matchCgroup(e.Cgroups, trusted); pattern != "" {
		f = finding{bpfStandingEXEMPT_CGROUP, level, "cgroup " + pattern}
	} else if place.PodUID != "" && e.byPod() {
		its, err := g.containers.Lookup(ctx, cgroup)
		if err != nil {
			return finding{}, fmt.Errorf("asking for the pod of %s: %w", process.Printable([]byte(cgroup), 512), err)
		}
		if by := e.pod(its); by != "" {
			f.standing, f.by = bpfStandingEXEMPT_CGROUP, by
		}
	}
	return f, g.mark(c, f, version)
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
func matchCgroup(patterns []string, levels []process.CgroupLevel) (pattern string, level int) {
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

// mark tells the kernel what was found out under the policy of that version,
// unless there is another one by now.
func (g *Guard) mark(c process.Cgroup, f finding, version int) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if version != g.version || f.level < 0 || f.level >= len(c.Levels) {
		return nil // the root needs no mark, and a cgroup far below it has none
	}
	key := bpfCgroupKey{Id: c.Levels[f.level].ID, Hierarchy: uint64(c.Hierarchy)}
	if err := g.objs.Cgroups.Put(key, f.standing); err != nil {
		return fmt.Errorf("telling the kernel of a cgroup: %w", err)
	}
	return nil
}
