package cgroup

import "strings"

// ownerLevels is the number of levels of an owner outside of containers: a slice and a
// service, or user.slice and the slice of a user. Users can create cgroups below.
const ownerLevels = 2

// owner returns Cgroup.Owner of a path.
func (p Parser) owner(path string, ref ContainerRef) string {
	levels := ownerLevels
	if ref.Contained() {
		levels = ref.Level + 1
	} else if strings.HasPrefix(path, p.root+"/") {
		levels += strings.Count(p.root, "/")
	}
	for i, c := range []byte(path) {
		if c == '/' && i > 0 {
			if levels--; levels == 0 {
				return path[:i]
			}
		}
	}
	return path
}
