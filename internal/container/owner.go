package container

import "strings"

// ownerLevels is how many levels of the path of a cgroup in no container name its
// owner: the slice and the service, or the slice of a user. Below, users make cgroups.
const ownerLevels = 2

// Owner returns the part of a cgroup's path by which its processes share a limit: the
// container's own cgroup, or the first two levels where there is no container. No
// process can leave it, or get another one, without the right to make cgroups near the
// root or containers.
func (r *Resolver) Owner(cgroup string) string {
	levels := ownerLevels
	if place, ok := r.Parse(cgroup); ok {
		levels = place.Level + 1
	} else if base := strings.TrimRight(r.base, "/"); strings.HasPrefix(cgroup, base+"/") {
		levels += strings.Count(base, "/")
	}
	for i, c := range []byte(cgroup) {
		if c == '/' && i > 0 {
			if levels--; levels == 0 {
				return cgroup[:i]
			}
		}
	}
	return cgroup
}
