// Package fair shares the workers and the memory of a detector among the users and cgroups of
// the machine, so that none of them can keep the detector from others.
package fair

import "fmt"

// An Owner is a user in a cgroup.
type Owner struct {
	UID    uint32
	Cgroup uint64 // id
}

// String returns the name under which procread.Reader accounts for reads.
func (o Owner) String() string { return fmt.Sprintf("uid %d, cgroup %d", o.UID, o.Cgroup) }
