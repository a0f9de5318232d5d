// Package cgroup tells which container a cgroup belongs to, by its path.
//
// The kernel's programs report paths from the root of the hierarchy, so the agent's own
// cgroup namespace does not matter. A path is parsed once, when a Cgroup is made.
package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	maxLevels = 8
	nameSize  = 256 // bytes, NUL included

	// Size is the size in bytes of struct cgroup_path in bpf/process.h.
	Size = HeadSize + maxLevels*levelSize
	// HeadSize is the size in bytes of what is before its levels.
	HeadSize  = 8
	levelSize = 8 + nameSize
)

// A Cgroup is the place of a cgroup in its hierarchy, and what that says. The zero value
// is a cgroup that is not known.
type Cgroup struct {
	Hierarchy uint32 // 0 for cgroup v2, a number for each of v1
	// Depth is the number of levels below the root; 0 is the root itself.
	Depth int
	// Levels are at most the 8 levels next to the root, from there downwards. Before
	// Linux 6.1 there are none if Depth is beyond 64.
	Levels []Level
	// Path is the path from the root, "/" for the root. It ends in "/..." if levels
	// are missing there.
	Path string
	// Container is the container that the path leads to.
	Container ContainerRef
	// Owner is the part of Path by which processes share limits: the container's own
	// cgroup, or the first two levels outside of containers. A process can change it
	// only with the right to make containers or cgroups near the root.
	Owner string
}

// A Level is one name of a path, and the id of the cgroup that has it. A name may hold any
// byte but slash and NUL.
type Level struct {
	ID   uint64
	Name string
}

// A Key identifies a cgroup: ids are unique within a hierarchy.
type Key struct {
	ID        uint64
	Hierarchy uint32
}

// New returns the cgroup of these levels.
func (p Parser) New(hierarchy uint32, depth int, levels []Level) Cgroup {
	c := p.At(joined(depth, levels))
	c.Hierarchy, c.Depth, c.Levels = hierarchy, depth, levels
	return c
}

// At returns the cgroup of a path, without its levels.
func (p Parser) At(path string) Cgroup {
	ref := p.Parse(path)
	return Cgroup{Path: path, Container: ref, Owner: p.owner(path, ref)}
}

// Decode decodes the first Size bytes of b, a struct cgroup_path. Levels that it does not
// have may be missing.
func (p Parser) Decode(b []byte) (Cgroup, error) {
	if len(b) < HeadSize || len(b)-HeadSize < LevelsSize(b) {
		return Cgroup{}, fmt.Errorf("decoding a cgroup: %d bytes", len(b))
	}
	depth := int(binary.LittleEndian.Uint32(b[4:]))
	var levels []Level
	for i := range min(depth, maxLevels) {
		level := b[HeadSize+i*levelSize:]
		id := binary.LittleEndian.Uint64(level)
		if id == 0 {
			break
		}
		name, _, _ := bytes.Cut(level[8:8+nameSize], []byte{0})
		levels = append(levels, Level{id, string(name)})
	}
	return p.New(binary.LittleEndian.Uint32(b), depth, levels), nil
}

// LevelsSize returns the size in bytes of the levels that a struct cgroup_path has, of which
// the first HeadSize bytes must be there.
func LevelsSize(head []byte) int {
	return int(min(binary.LittleEndian.Uint32(head[4:]), maxLevels)) * levelSize
}

// ID returns the id of the deepest level that is known, 0 for the root.
func (c Cgroup) ID() uint64 {
	if len(c.Levels) == 0 {
		return 0
	}
	return c.Levels[len(c.Levels)-1].ID
}

// Key returns the key of the deepest level that is known.
func (c Cgroup) Key() Key { return Key{c.ID(), c.Hierarchy} }

// OfOwner returns the cgroup that Owner names, without its levels: what is known of all
// processes of that owner. It keeps no part of c's path.
func (c Cgroup) OfOwner() Cgroup {
	owner := strings.Clone(c.Owner)
	ref := c.Container
	ref.Nested = ""
	return Cgroup{Hierarchy: c.Hierarchy, Path: owner, Owner: owner, Container: ref}
}

func joined(depth int, levels []Level) string {
	if depth == 0 {
		return "/"
	}
	var path strings.Builder
	for _, l := range levels {
		path.WriteString("/" + l.Name)
	}
	if depth > len(levels) {
		path.WriteString("/...")
	}
	return path.String()
}
