package cgroup

import "strings"

// ownerLevels is how many levels of a path name the owner outside of containers: the slice
// and the service, or the slice of a user. Users can make cgroups below.
const ownerLevels = 2

// owner returns the part of a path that Cgroup.Owner is.
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
