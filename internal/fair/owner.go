// Package fair shares the workers and the memory of a detector among the users and containers
// of the machine, so that none of them can keep the detector from others.
package fair

// An Owner is a user in a cgroup.
type Owner struct {
	UID    uint32
	Cgroup uint64 // id
}
