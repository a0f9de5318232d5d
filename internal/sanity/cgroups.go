package sanity

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/cgroup"
)

// covers reports whether a pattern of exemptions.cgroups exempts a cgroup: whether it
// matches the cgroup or one above it, but not one inside of a container.
func covers(pattern, of string) bool {
	names := strings.Split(strings.TrimPrefix(of, "/"), "/")
	if ref := new(cgroup.Parser).Parse(of); ref.Contained() {
		names = names[:ref.Level+1]
	}
	for i := range names {
		if ok, err := path.Match(pattern, "/"+strings.Join(names[:i+1], "/")); ok && err == nil {
			return true
		}
	}
	return false
}

// cgroups reports patterns that exempt containers or processes of users.
func (f *findings) cgroups() {
	base := strings.TrimRight(f.config.Containers.CgroupRoot, "/")
	for i, pattern := range f.config.Exemptions.Cgroups {
		place := f.config.Place(key("exemptions.cgroups", i))
		if strings.HasSuffix(pattern, "/") || strings.Contains(pattern, "//") {
			f.refuse(place, "%q matches no cgroup, because no path ends in / or contains //", pattern)
			continue
		}
		var named, unnamed []string
		for _, s := range untrustedCgroups() {
			list := &unnamed
			switch {
			case !covers(pattern, base+s.cgroup):
				continue
			case slices.ContainsFunc(s.names, func(name string) bool { return strings.Contains(below(pattern, base), name) }):
				list = &named
			}
			if !slices.Contains(*list, s.what) {
				*list = append(*list, s.what)
			}
		}
		switch {
		case len(unnamed) > 0:
			f.refuse(place, "%q exempts %s: write full names such as /system.slice/kubelet.service", pattern, some(unnamed))
		case len(named) > 0:
			f.warn(place, "%q exempts %s: their processes are never killed", pattern, some(named))
		}
	}
}

// some lists the first kinds of cgroups, and the number of the others.
func some(kinds []string) string {
	const most = 3
	if len(kinds) <= most {
		return strings.Join(kinds, ", ")
	}
	return fmt.Sprintf("%s and %d more kinds", strings.Join(kinds[:most], ", "), len(kinds)-most)
}

// below returns a pattern without its first names, as many as base has.
func below(pattern, base string) string {
	for range strings.Count(base, "/") {
		_, rest, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		pattern = "/" + rest
	}
	return pattern
}

// An untrustedCgroup is one in which users of the node choose the programs.
type untrustedCgroup struct {
	cgroup string
	what   string
	// names are parts of the path. A pattern that contains one covers the cgroup on
	// purpose.
	names []string
}

// untrustedCgroups returns a cgroup of each runtime, session and batch system. The paths
// of containers are those of docs/identity.md.
func untrustedCgroups() []untrustedCgroup {
	const (
		id  = "2f0c6a1fb04be1ba4e6b5da9b6d1e9f4f4bd4d1c9a0df9cfd2b6ee0f3d5a7c11"
		uid = "9d1e7f52-6a4f-4c0b-8f1e-0c7d2b3a4e5f"
	)
	slice := strings.ReplaceAll(uid, "-", "_")
	expand := strings.NewReplacer("ID", id, "UID", uid, "SLICE", slice).Replace
	all := []untrustedCgroup{
		{"/kubepods/burstable/podUID/ID", "the containers of pods", []string{"kube"}},
		{"/kubepods/besteffort/podUID/ID", "the containers of pods", []string{"kube"}},
		{"/kubepods/podUID/crio-ID", "the containers of pods", []string{"kube"}},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podSLICE.slice/cri-containerd-ID.scope", "the containers of pods", []string{"kube"}},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podSLICE.slice/crio-ID.scope", "the containers of pods", []string{"kube"}},
		{"/kubepods.slice/kubepods-podSLICE.slice/docker-ID.scope", "the containers of pods", []string{"kube"}},
		{"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podSLICE.slice/cri-containerd-ID.scope", "the containers of pods", []string{"kube"}},
		{"/docker/ID", "the containers of Docker", []string{"docker"}},
		{"/docker/buildkit/ID", "the builds of Docker", []string{"docker"}},
		{"/system.slice/docker-ID.scope", "the containers of Docker", []string{"docker"}},
		{"/machine.slice/libpod-ID.scope", "the containers of Podman", []string{"libpod", "machine"}},
		{"/libpod_parent/libpod-ID", "the containers of Podman", []string{"libpod"}},
		{"/system.slice/web.service/libpod-payload-ID", "the containers that Podman runs in services", []string{"web", "libpod"}},
		{"/k8s.io/ID", "the containers of containerd", []string{"k8s.io"}},
		{"/default/ID", "the containers of containerd", []string{"default"}},
		{"/buildkit/ID", "the builds of BuildKit", []string{"buildkit"}},
		{"/ecs/0123456789abcdef/ID", "the tasks of Amazon ECS", []string{"ecs"}},
		{"/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/vcpu0", "virtual machines", []string{"machine"}},
		{"/machine.slice/systemd-nspawn@web.service/payload", "the containers of systemd-nspawn", []string{"machine"}},
		{"/lxc/web", "the containers of LXC", []string{"lxc"}},
		{"/lxc.payload.web", "the containers of LXC", []string{"lxc"}},
		{"/user.slice/user-1000.slice/session-3.scope", "the sessions of users", []string{"user"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/run-r0b1c.scope", "the sessions of users", []string{"user"}},
		{"/user/1000.user/3.session", "the sessions of users", []string{"user"}},
		{"/system.slice/cron.service", "the jobs that users give to cron", []string{"cron"}},
		{"/system.slice/crond.service", "the jobs that users give to cron", []string{"cron"}},
		{"/system.slice/atd.service", "the jobs that users give to at", []string{"atd"}},
		{"/system.slice/jupyter-alice-singleuser.service", "the users' servers of JupyterHub", []string{"jupyter"}},
		{"/system.slice/jupyter-alice.service", "the users' servers of JupyterHub", []string{"jupyter"}},
		{"/system.slice/jupyterhub.service", "the users' servers of JupyterHub", []string{"jupyter"}},
		{"/system.slice/rstudio-server.service", "the users' sessions of RStudio", []string{"rstudio"}},
		{"/system.slice/slurmstepd.scope/job_7/step_0/user/task_0", "the jobs of Slurm", []string{"slurm"}},
		{"/slurm/uid_1000/job_7/step_0", "the jobs of Slurm", []string{"slurm"}},
		{"/system.slice/condor.service/condor_var_lib_condor_execute_slot1@node", "the jobs of HTCondor", []string{"condor"}},
		{"/htcondor/condor_var_lib_condor_execute_slot1@node", "the jobs of HTCondor", []string{"condor"}},
		{"/pbs_jobs.service/jobid/7", "the jobs of PBS", []string{"pbs"}},
		{"/system.slice/gitlab-runner.service", "the jobs of CI runners", []string{"gitlab"}},
		{"/system.slice/actions.runner.org-repo.node.service", "the jobs of CI runners", []string{"actions"}},
	}
	for i := range all {
		all[i].cgroup = expand(all[i].cgroup)
	}
	return all
}
