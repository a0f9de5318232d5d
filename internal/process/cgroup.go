package process

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

const (
	cgroupLevels = 8
	cgroupName   = 256 // bytes, NUL included

	// CgroupSize is the size in bytes of struct cgroup_path in bpf/process.h, of
	// which Cgroup is the twin.
	CgroupSize = 8 + cgroupLevels*(8+cgroupName)
)

// A Cgroup is the place of a cgroup, in its hierarchy and from the hierarchy's
// very root, whatever cgroup namespace anybody is in.
type Cgroup struct {
	Hierarchy uint32 // 0 for cgroup v2, a number for each of v1
	// Depth is the number of levels below the root; 0 is the root itself.
	Depth int
	// Levels are the 8 levels next to the root at most, from there downwards. Before
	// Linux 6.1 there are none if Depth is beyond 64.
	Levels []CgroupLevel
}

// A CgroupLevel is one name of a path, and the id of the cgroup that has it. A
// name may hold any byte but slash and NUL.
type CgroupLevel struct {
	ID   uint64
	Name string
}

// DecodeCgroup decodes the first CgroupSize bytes of b. The levels that it does not have
// may be missing.
func DecodeCgroup(b []byte) (Cgroup, error) {
	const head, level = 8, 8 + cgroupName
	if len(b) < head || (len(b)-head)/level < min(int(binary.LittleEndian.Uint32(b[4:])), cgroupLevels) {
		return Cgroup{}, fmt.Errorf("decoding a cgroup of the kernel's: %d bytes", len(b))
	}
	c := Cgroup{
		Hierarchy: binary.LittleEndian.Uint32(b),
		Depth:     int(binary.LittleEndian.Uint32(b[4:])),
	}
	for i := range min(c.Depth, cgroupLevels) {
		level := b[8+i*(8+cgroupName):]
		id := binary.LittleEndian.Uint64(level)
		if id == 0 {
			break
		}
		name, _, _ := bytes.Cut(level[8:8+cgroupName], []byte{0})
		c.Levels = append(c.Levels, CgroupLevel{id, string(name)})
	}
	return c, nil
}

// ID returns the id of the level next to the cgroup that is known, 0 for the root.
func (c Cgroup) ID() uint64 {
	if len(c.Levels) == 0 {
		return 0
	}
	return c.Levels[len(c.Levels)-1].ID
}

// Path returns the path of the cgroup, "/" for the root. If levels are missing at
// its end, that is "...".
func (c Cgroup) Path() string {
	if c.Depth == 0 {
		return "/"
	}
	var path strings.Builder
	for _, l := range c.Levels {
		path.WriteString("/" + l.Name)
	}
	if c.Depth > len(c.Levels) {
		path.WriteString("/...")
	}
	return path.String()
}
