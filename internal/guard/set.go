package guard

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A set is a policy and the maps of bpf/guard.h in which the kernel finds it. Another
// policy has a set of its own.
type set struct {
	policy                             Policy
	cgroups, programs, files, policies *ebpf.Map

	mu    sync.Mutex
	named map[bpfCgroupKey]string   // the exemptions of the cgroups that have one
	paths map[process.FileID]string // of the exempt files
}

// newSet makes the maps for a policy and fills them, but for the cgroups.
func (g *Guard) newSet(p Policy) (*set, error) {
	s := &set{policy: p, named: make(map[bpfCgroupKey]string), paths: make(map[process.FileID]string)}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the guard object: %w", err)
	}
	for name, m := range map[string]**ebpf.Map{
		bpfMapCgroups: &s.cgroups, bpfMapExemptPrograms: &s.programs,
		bpfMapExemptFiles: &s.files, bpfMapPolicies: &s.policies,
	} {
		if *m, err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return nil, errors.Join(fmt.Errorf("making the map %s: %w", name, err), s.close())
		}
	}
	if err := s.fill(g); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *set) fill(g *Guard) error {
	kernel := g.limits(s.policy)
	if s.policy.Exemptions.byCgroup() {
		kernel.ByCgroup = 1
	}
	if len(s.policy.Exemptions.Programs) > 0 {
		kernel.ByProgram = 1
	}
	kernel.Host.Mount, kernel.Host.Directory, kernel.Host.MountNamespace = g.host.Mount, g.host.Directory, g.host.MountNamespace
	if err := s.policies.Put(uint32(0), kernel); err != nil {
		return fmt.Errorf("storing the policy: %w", err)
	}
	for _, text := range s.policy.Exemptions.Programs {
		var key bpfProgramPath
		copy(key.Path[:], text)
		if err := s.programs.Put(key, uint32(1)); err != nil {
			return fmt.Errorf("exempting the program %s: %w", text, err)
		}
	}
	return s.identify(g)
}

// identify finds out which files the exempt paths lead to now.
func (s *set) identify(g *Guard) error {
	found := make(map[process.FileID]string)
	for _, text := range s.policy.Exemptions.Programs {
		id, err := g.fileAt(text)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			continue // the path itself is exempt all the same
		case err != nil:
			return fmt.Errorf("looking for the exempt program %s: %w", text, err)
		}
		found[id] = text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range found {
		if err := s.files.Put(fileKey(id), uint32(1)); err != nil {
			return fmt.Errorf("exempting the file of %s: %w", found[id], err)
		}
	}
	for id, text := range s.paths {
		if _, still := found[id]; still {
			continue
		}
		if err := s.files.Delete(fileKey(id)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forgetting the file that was %s: %w", text, err)
		}
	}
	s.paths = found
	return nil
}

func fileKey(id process.FileID) bpfFileId {
	return bpfFileId{Inode: id.Inode, Device: id.Device, Generation: id.Generation}
}

// program returns the exemption that holds for a program by its file, or by its path if
// that leads where init sees it; "" for none.
func (s *set) program(file process.FileID, hostRoot bool, path string) string {
	s.mu.Lock()
	text, known := s.paths[file]
	s.mu.Unlock()
	if known {
		return "program " + text
	}
	if hostRoot && slices.Contains(s.policy.Exemptions.Programs, path) {
		return "program " + path
	}
	return ""
}

// mark tells the kernel how a cgroup stands.
func (s *set) mark(c cgroup.Cgroup, f finding) error {
	if f.level < 0 || f.level >= len(c.Levels) {
		return nil // the root needs no mark
	}
	key := bpfCgroupKey{Id: c.Levels[f.level].ID, Hierarchy: uint64(c.Hierarchy)}
	s.mu.Lock()
	if f.by == "" {
		delete(s.named, key)
	} else {
		if len(s.named) >= int(s.cgroups.MaxEntries()) {
			clear(s.named) // they are found out again when they matter
		}
		s.named[key] = f.by
	}
	s.mu.Unlock()
	if err := s.cgroups.Put(key, f.standing); err != nil {
		return fmt.Errorf("telling the kernel of a cgroup: %w", err)
	}
	return nil
}

// exemption returns by what a cgroup is exempt, as far as the kernel was told.
func (s *set) exemption(c cgroup.Cgroup) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range c.Levels {
		if by := s.named[bpfCgroupKey{Id: l.ID, Hierarchy: uint64(c.Hierarchy)}]; by != "" {
			return by
		}
	}
	return ""
}

// unnamed returns how a cgroup stands that no pod and no pattern exempts.
func (e *Exemptions) unnamed(c cgroup.Cgroup) finding {
	ref := c.Container
	switch {
	case ref.Contained():
		return finding{bpfStandingCONTAINER_CGROUP, ref.Level, ""}
	case ref.Level >= 0 && ref.Level < len(c.Levels) && !e.reachBelow(c.Levels[:ref.Level+1]):
		return finding{bpfStandingCLOSED_CGROUP, ref.Level, ""}
	case c.Depth > len(c.Levels):
		// Of what is deeper, nobody knows more.
		return finding{bpfStandingCLOSED_CGROUP, len(c.Levels) - 1, ""}
	}
	return finding{bpfStandingHOST_CGROUP, c.Depth - 1, ""}
}

// reachBelow reports whether a pattern may match a cgroup below this one.
func (e *Exemptions) reachBelow(levels []cgroup.Level) bool {
	for _, p := range e.Cgroups {
		parts := strings.Split(p[1:], "/")
		if len(parts) <= len(levels) {
			continue
		}
		matches := true
		for i, l := range levels {
			ok, err := path.Match(parts[i], l.Name)
			matches = matches && ok && err == nil
		}
		if matches {
			return true
		}
	}
	return false
}

func (s *set) close() error {
	var errs []error
	for _, m := range []*ebpf.Map{s.cgroups, s.programs, s.files, s.policies} {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
