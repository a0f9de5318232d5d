// Package fair shares the workers and the memory of a detector among the users and containers
// of the machine, so that none of them can keep the detector from others.
package fair

// An Owner is a user in a cgroup.
type Owner struct {
	// UID is the user who is responsible: who made the user namespace, since a user has many ids
	// there. A container is a user by itself, with the number of a namespace (bpf/fair.h). The log
	// has the user id of the process instead.
	UID    uint32
	Cgroup uint64 // id
}
