package exempt

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// A set has rules and the maps of bpf/exempt.h for them.
type set struct {
	rules Rules
	maps  map[string]*ebpf.Map // by name, as Maps returns them

	mu         sync.Mutex
	closed     bool                      // the maps must not be used any more
	exemptions map[cgroup.Key]string     // of the exempt cgroups
	paths      map[process.FileID]string // of the exempt files
}

// newSet creates the maps of a set and fills them, except that of the cgroups.
func (c *Checker) newSet(r Rules, found resolution) (*set, error) {
	s := &set{rules: r, maps: make(map[string]*ebpf.Map), exemptions: make(map[cgroup.Key]string), paths: make(map[process.FileID]string)}
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("reading the maps of exemptions: %w", err)
	}
	for _, name := range []string{bpfMapCgroupClasses, bpfMapExemptPrograms, bpfMapExemptFiles, bpfMapExemptionState} {
		if s.maps[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return nil, errors.Join(fmt.Errorf("making the map %s: %w", name, err), s.close())
		}
	}
	if err := s.fill(c, found); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *set) fill(c *Checker, found resolution) error {
	var kernel bpfExemptions
	if s.rules.byCgroup() {
		kernel.ByCgroup = 1
	}
	if len(s.rules.Programs) > 0 {
		kernel.ByProgram = 1
	}
	if s.rules.NodeRoot {
		kernel.NodeRoot = 1
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
	return s.storeFiles(found, c.now())
}

// storeFiles replaces the files of the exempt paths. Where nothing is known of a path, its files of
// another set, or of this one, stay exempt; last may be nil.
func (s *set) storeFiles(r resolution, last *set) error {
	found := maps.Clone(r.files)
	for id, text := range last.files() {
		if _, ok := found[id]; !ok && r.unknown[text] {
			found[id] = text
		}
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
			return fmt.Errorf("removing the previous file of %s: %w", text, err)
		}
	}
	s.paths = found
	return nil
}

// files returns the exempt files with their paths.
func (s *set) files() map[process.FileID]string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.paths // which is replaced, never changed
}

func fileKey(id process.FileID) bpfFileId {
	return bpfFileId{Inode: id.Inode, Device: id.Device, Generation: id.Generation}
}

// program returns the exemption of a program by its file or, if the process has the host's
// root directory, by its path; "" for none.
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
func (s *set) store(at cgroup.Cgroup, f classification) error {
	if f.level < 0 || f.level >= len(at.Levels) {
		return nil // the root has no entry
	}
	key := cgroup.Key{ID: at.Levels[f.level].ID, Hierarchy: at.Hierarchy}
	classes := s.maps[bpfMapCgroupClasses]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil // it was replaced twice meanwhile
	}
	if f.by == "" {
		delete(s.exemptions, key)
	} else {
		if len(s.exemptions) >= int(classes.MaxEntries()) {
			clear(s.exemptions) // log lines then lack the name of the exemption
		}
		s.exemptions[key] = f.by
	}
	if err := classes.Put(bpfCgroupKey{Id: key.ID, Hierarchy: uint64(key.Hierarchy)}, f.class); err != nil {
		return fmt.Errorf("storing the class of a cgroup: %w", err)
	}
	return nil
}

// exemption returns the exemption of a cgroup that is stored for the kernel, "" for none.
func (s *set) exemption(at cgroup.Cgroup) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range at.Levels {
		if by := s.exemptions[cgroup.Key{ID: l.ID, Hierarchy: at.Hierarchy}]; by != "" {
			return by
		}
	}
	return ""
}

// defaultClass returns the class of a cgroup without exemption.
func (r *Rules) defaultClass(at cgroup.Cgroup) classification {
	ref := at.Container
	switch {
	case ref.Contained():
		return classification{bpfCgroupClassCGROUP_CONTAINER, ref.Level, ""}
	case ref.Level >= 0 && ref.Level < len(at.Levels) && !r.mayMatchBelow(at.Levels[:ref.Level+1]):
		return classification{bpfCgroupClassCGROUP_HOST_SUBTREE, ref.Level, ""}
	case at.Depth > len(at.Levels):
		// Deeper levels are not recorded.
		return classification{bpfCgroupClassCGROUP_HOST_SUBTREE, len(at.Levels) - 1, ""}
	}
	return classification{bpfCgroupClassCGROUP_HOST, at.Depth - 1, ""}
}

// mayMatchBelow reports whether a pattern may match a cgroup below that of levels.
func (r *Rules) mayMatchBelow(levels []cgroup.Level) bool {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, m := range s.maps {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
