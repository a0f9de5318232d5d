package exempt

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

// A set is the rules and the maps of bpf/exempt.h in which the kernel finds them. Other
// rules have a set of their own.
type set struct {
	rules Rules
	maps  map[string]*ebpf.Map // by name, as Maps returns them

	mu    sync.Mutex
	named map[cgroup.Key]string     // the exemptions of the cgroups that have one
	paths map[process.FileID]string // of the exempt files
}

// newSet makes the maps of a set and fills them, but for the cgroups.
func (c *Checker) newSet(r Rules) (*set, error) {
	s := &set{rules: r, maps: make(map[string]*ebpf.Map), named: make(map[cgroup.Key]string), paths: make(map[process.FileID]string)}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the maps of exemptions: %w", err)
	}
	for _, name := range []string{bpfMapCgroupClasses, bpfMapExemptPrograms, bpfMapExemptFiles, bpfMapExemptionState} {
		if s.maps[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return nil, errors.Join(fmt.Errorf("making the map %s: %w", name, err), s.close())
		}
	}
	if err := s.fill(c); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *set) fill(c *Checker) error {
	var kernel bpfExemptions
	if s.rules.byCgroup() {
		kernel.ByCgroup = 1
	}
	if len(s.rules.Programs) > 0 {
		kernel.ByProgram = 1
	}
	kernel.Host.Mount, kernel.Host.Directory, kernel.Host.MountNamespace = c.inventory.HostRoot()
	if err := s.maps[bpfMapExemptionState].Put(uint32(0), kernel); err != nil {
		return fmt.Errorf("storing the exemptions: %w", err)
	}
	for _, text := range s.rules.Programs {
		var key bpfProgramPath
		copy(key.Path[:], text)
		if err := s.maps[bpfMapExemptPrograms].Put(key, uint32(1)); err != nil {
			return fmt.Errorf("exempting the program %s: %w", text, err)
		}
	}
	return s.identify(c)
}

// identify finds out which files the exempt paths lead to now.
func (s *set) identify(c *Checker) error {
	found := make(map[process.FileID]string)
	for _, text := range s.rules.Programs {
		id, err := c.fileAt(text)
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
		if err := s.maps[bpfMapExemptFiles].Put(fileKey(id), uint32(1)); err != nil {
			return fmt.Errorf("exempting the file of %s: %w", found[id], err)
		}
	}
	for id, text := range s.paths {
		if _, still := found[id]; still {
			continue
		}
		if err := s.maps[bpfMapExemptFiles].Delete(fileKey(id)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
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
	if hostRoot && slices.Contains(s.rules.Programs, path) {
		return "program " + path
	}
	return ""
}

// store stores the class of a cgroup for the kernel.
func (s *set) store(at cgroup.Cgroup, f finding) error {
	if f.level < 0 || f.level >= len(at.Levels) {
		return nil // the root has no entry
	}
	key := cgroup.Key{ID: at.Levels[f.level].ID, Hierarchy: at.Hierarchy}
	classes := s.maps[bpfMapCgroupClasses]
	s.mu.Lock()
	if f.by == "" {
		delete(s.named, key)
	} else {
		if len(s.named) >= int(classes.MaxEntries()) {
			clear(s.named) // they are found again when they matter
		}
		s.named[key] = f.by
	}
	s.mu.Unlock()
	if err := classes.Put(bpfCgroupKey{Id: key.ID, Hierarchy: uint64(key.Hierarchy)}, f.class); err != nil {
		return fmt.Errorf("storing the class of a cgroup: %w", err)
	}
	return nil
}

// exemption returns by what a cgroup is exempt, as far as the kernel was told.
func (s *set) exemption(at cgroup.Cgroup) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range at.Levels {
		if by := s.named[cgroup.Key{ID: l.ID, Hierarchy: at.Hierarchy}]; by != "" {
			return by
		}
	}
	return ""
}

// unnamed returns the class of a cgroup that no pod and no pattern exempts.
func (r *Rules) unnamed(at cgroup.Cgroup) finding {
	ref := at.Container
	switch {
	case ref.Contained():
		return finding{bpfCgroupClassCGROUP_CONTAINER, ref.Level, ""}
	case ref.Level >= 0 && ref.Level < len(at.Levels) && !r.reachBelow(at.Levels[:ref.Level+1]):
		return finding{bpfCgroupClassCGROUP_HOST_SUBTREE, ref.Level, ""}
	case at.Depth > len(at.Levels):
		// Nothing more is known of deeper levels.
		return finding{bpfCgroupClassCGROUP_HOST_SUBTREE, len(at.Levels) - 1, ""}
	}
	return finding{bpfCgroupClassCGROUP_HOST, at.Depth - 1, ""}
}

// reachBelow reports whether a pattern may match a cgroup below this one.
func (r *Rules) reachBelow(levels []cgroup.Level) bool {
	for _, p := range r.Cgroups {
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
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
