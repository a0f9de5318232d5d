// Package cgroup determines the container of a cgroup from its path.
//
// BPF programs report paths from the root of the hierarchy, so the agent's own cgroup
// namespace does not matter. New, At and Decode parse a path once.
package cgroup

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const (
	maxLevels = 8
	nameSize  = 256 // bytes, NUL included

	// Size is the size in bytes of struct cgroup_path in bpf/process.h.
	Size = HeadSize + maxLevels*levelSize
	// HeadSize is the size in bytes of the fields before its levels.
	HeadSize  = 8
	levelSize = 8 + nameSize
)

// A Cgroup is the path of a cgroup, with its container and owner. The zero value is an
// unknown cgroup.
type Cgroup struct {
	Hierarchy uint32 // 0 for cgroup v2, a number for each of v1
	// Depth is the number of levels below the root; 0 is the root itself.
	Depth int
	// Levels are the first 8 levels below the root. Before Linux 6.1 there are none if
	// Depth is above 64.
	Levels []Level
	// Path is the path from the root, "/" for the root. It ends in "/..." if levels
	// are missing there.
	Path string
	// Container is the container that the path leads to.
	Container ContainerRef
	// Owner is the part of Path whose processes share limits: the container's own cgroup,
	// or the first two levels outside of containers, with Slurm three. Only processes that can create
	// containers or cgroups near the root can change their owner.
	Owner string
}

// A Level is one name of a path and the id of its cgroup. A name can contain any byte
// except slash and NUL.
type Level struct {
	ID   uint64
	Name string
	// OfUser is whether the cgroup belongs to another user than root.
	OfUser bool
}

// NewLevel returns the level for an id as in struct cgroup_path.
func NewLevel(id uint64, name string) Level {
	const ofUser = 1 << 63 // OF_USER in bpf/process.h
	return Level{id &^ ofUser, name, id&ofUser != 0}
}

// A Key identifies a cgroup: ids are unique within a hierarchy.
type Key struct {
	ID        uint64
	Hierarchy uint32
}

// New returns the cgroup with these levels.
func (p Parser) New(hierarchy uint32, depth int, levels []Level) Cgroup {
	c := p.At(joined(depth, levels))
	// Who owns a cgroup chooses the names below. A runtime gives a container its own cgroup, but
	// not the ones above.
	i := slices.IndexFunc(levels, func(l Level) bool { return l.OfUser })
	if i >= 0 && (c.Container.Level < 0 || i < c.Container.Level) {
		c.Container = ContainerRef{Level: i}
		c.Owner = p.owner(c.Path, c.Container)
	}
	c.Hierarchy, c.Depth, c.Levels = hierarchy, depth, levels
	return c
}

// At returns the cgroup with a path, without levels.
func (p Parser) At(path string) Cgroup {
	ref := p.Parse(path)
	return Cgroup{Path: path, Container: ref, Owner: p.owner(path, ref)}
}

// Decode decodes a struct cgroup_path. b can end after the last level in use.
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
		levels = append(levels, NewLevel(id, string(name)))
	}
	return p.New(binary.LittleEndian.Uint32(b), depth, levels), nil
}

// LevelsSize returns the size in bytes of the levels of a struct cgroup_path, given its
// first HeadSize bytes.
func LevelsSize(head []byte) int {
	return int(min(binary.LittleEndian.Uint32(head[4:]), maxLevels)) * levelSize
}

// ID returns the id of the last of Levels, 0 for the root.
func (c Cgroup) ID() uint64 {
	if len(c.Levels) == 0 {
		return 0
	}
	return c.Levels[len(c.Levels)-1].ID
}

// Key returns the key of the last of Levels.
func (c Cgroup) Key() Key { return Key{c.ID(), c.Hierarchy} }

// OfOwner returns the cgroup of the owner, without levels. It does not share memory with c, so
// that it does not keep a long path.
func (c Cgroup) OfOwner() Cgroup {
	owner := strings.Clone(c.Owner)
	ref := c.Container
	ref.ID, ref.PodUID, ref.Nested = strings.Clone(ref.ID), strings.Clone(ref.PodUID), ""
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
