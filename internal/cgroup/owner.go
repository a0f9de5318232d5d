package cgroup

import "strings"

// ownerLevels is the number of levels of an owner outside of containers: a slice and a
// service, or user.slice and the slice of a user. Users can create cgroups below.
const ownerLevels = 2

// slurmJob begins the third level of a job of Slurm, with cgroup v2. Root's slurmstepd makes it, for the jobs
// of all users in one scope.
const slurmJob = "system.slice/slurmstepd.scope/job_"

// owner returns Cgroup.Owner of a path.
func (p Parser) owner(path string, ref ContainerRef) string {
	levels := ownerLevels
	if ref.Contained() {
		levels = ref.Level + 1
	} else if inside, ok := strings.CutPrefix(path, p.root+"/"); ok {
		levels += strings.Count(p.root, "/")
		if strings.HasPrefix(inside, slurmJob) {
			levels++
		}
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
