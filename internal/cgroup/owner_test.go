package cgroup

import "testing"

func TestUsersCannotChooseTheOwnerOfACgroup(t *testing.T) {
	for _, c := range []struct{ name, root, cgroup, want string }{
		{"the root", "", "/", "/"},
		{"a pod's container", "", "/kubepods/besteffort/pod1/" + idA, "/kubepods/besteffort/pod1/" + idA},
		{"below a pod's container", "", "/kubepods/besteffort/pod1/" + idA + "/a/b", "/kubepods/besteffort/pod1/" + idA},
		{"a nested container", "", "/docker/" + idA + "/docker/" + idB, "/docker/" + idA},
		{"a user's session", "", "/user.slice/user-1000.slice/session-3.scope", "/user.slice/user-1000.slice"},
		{"a user's cgroup with the name of a container", "", "/user.slice/user-1000.slice/user@1000.service/" + idA, "/user.slice/user-1000.slice"},
		{"a service", "", "/system.slice/cron.service", "/system.slice/cron.service"},
		{"a slice", "", "/system.slice", "/system.slice"},
		{"a node in a container", "/docker/" + idA, "/docker/" + idA + "/user.slice/user-1.slice/x", "/docker/" + idA + "/user.slice/user-1.slice"},
		{"a container of such a node", "/docker/" + idA, "/docker/" + idA + "/kubelet/kubepods/pod1/" + idB + "/x", "/docker/" + idA + "/kubelet/kubepods/pod1/" + idB},
		{"next to such a node", "/docker/" + idA, "/docker/" + idB + "/a/b", "/docker/" + idB},
		{"a job of Slurm", "", "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0", "/system.slice/slurmstepd.scope/job_7"},
		{"a job of Slurm on such a node", "/docker/" + idA, "/docker/" + idA + "/system.slice/slurmstepd.scope/job_7/step_0", "/docker/" + idA + "/system.slice/slurmstepd.scope/job_7"},
		{"a job of Slurm in cgroup v1", "", "/slurm/uid_1000/job_7/step_0", "/slurm/uid_1000"},
		{"Slurm's own processes", "", "/system.slice/slurmstepd.scope/system", "/system.slice/slurmstepd.scope"},
		{"a user's cgroup with the name of a job", "", "/system.slice/cron.service/job_7/x", "/system.slice/cron.service"},
		{"unknown", "", "", ""},
	} {
		p := NewParser(c.root)
		if got := p.owner(c.cgroup, p.Parse(c.cgroup)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
