package exempt

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

// Find returns the exemption that keeps a process from being killed, "" for none. An error
// means that the exemption could not be determined before ctx ended, or in a second if the file system of
// an exempt script does not answer. program is the path of
// its program, as executed or as in /proc. scripts are arguments that may be the path of the
// script that it runs, for a process that was started before the agent.
func (c *Checker) Find(ctx context.Context, p process.Event, program string, scripts ...string) (by string, err error) {
	now := c.now()
	if by := now.program(p.File, p.HostRoot, program); by != "" {
		return by, nil
	}
	if by, err := c.exemptScript(ctx, now, p, scripts); by != "" || err != nil || !now.rules.byCgroup() {
		return by, err
	}
	f, err := c.classify(ctx, now, p.Cgroup)
	if err == nil {
		// Kernel programs may still use the previous set.
		for _, s := range c.inUse()[1:] {
			_, _ = c.classify(ctx, s, p.Cgroup)
		}
	}
	return f.by, err
}

// NodeRootExemption is the name of the exemption of root on the node.
const NodeRootExemption = "exemptions.nodeRoot"

// NodeRoot reports whether a process is exempt, as root on the node, from bans that spare it.
// It does not block.
func (c *Checker) NodeRoot(p process.Event) bool { return c.now().rules.nodeRoot(p) }

// ByProgram reports whether programs are exempt.
func (c *Checker) ByProgram() bool { return len(c.now().rules.Programs) > 0 }

// Script returns the exemption of a process that runs an exempt script, "" for none. scripts and the error
// are as for Find.
func (c *Checker) Script(ctx context.Context, p process.Event, scripts []string) (by string, err error) {
	return c.exemptScript(ctx, c.now(), p, scripts)
}

// Name returns the exemption that a kernel program found, "" if it no longer exists. The program may have used
// the exemptions before. It does not block.
func (c *Checker) Name(p process.Event, program string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range []*set{c.current, c.previous} {
		if s == nil {
			continue
		}
		if by := s.name(p, program); by != "" {
			return by
		}
	}
	return ""
}

// Known returns the exemption in force that a kernel program finds for a process, "" for none. A cgroup that is
// not classified yet has none. It does not block.
func (c *Checker) Known(p process.Event, program string) string { return c.now().name(p, program) }

// name returns the exemption that a kernel program finds in a set, "" for none.
func (s *set) name(p process.Event, program string) string {
	if by := s.program(p.File, true, program); by != "" {
		return by
	}
	if by := s.exemption(p.Cgroup); by != "" {
		return by
	}
	if s.rules.nodeRoot(p) {
		return NodeRootExemption
	}
	return ""
}

// A classification is the class of a cgroup and of all cgroups below it.
type classification struct {
	class bpfCgroupClass
	level int    // of the cgroup in a path
	by    string // the exemption
}

// classify determines the class of a cgroup for a set and stores it for the kernel.
func (c *Checker) classify(ctx context.Context, s *set, at cgroup.Cgroup) (classification, error) {
	e := &s.rules
	f := e.defaultClass(at)
	trusted := at.Levels
	if at.Container.Contained() {
		trusted = at.Levels[:at.Container.Level+1]
	}
	if pattern, level := matchCgroup(e.Cgroups, trusted); pattern != "" {
		f = classification{bpfCgroupClassCGROUP_EXEMPT, level, "cgroup " + pattern}
	} else if at.Container.PodUID != "" && e.byPod() {
		its, err := c.containers.Lookup(ctx, at.Container)
		if err != nil {
			return classification{}, fmt.Errorf("looking up the pod of %s: %w", printable.Text([]byte(at.Path), 512), err)
		}
		if by := e.pod(its); by != "" {
			f.class, f.by = bpfCgroupClassCGROUP_EXEMPT, by
		}
	}
	c.addKnown(at)
	return f, s.store(at, f)
}

// pod returns the exemption of the pod of a container, or "".
func (e *Rules) pod(c *container.Container) string {
	if slices.Contains(e.Namespaces, c.Namespace) {
		return "namespace " + c.Namespace
	}
	for _, label := range e.PodLabels {
		key, value, hasValue := strings.Cut(label, "=")
		if got, ok := c.Labels[key]; ok && (!hasValue || got == value) {
			return "pod label " + label
		}
	}
	return ""
}

// matchCgroup returns the first pattern that matches a cgroup or one of its ancestors, and the
// level of the match.
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
