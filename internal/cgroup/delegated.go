package cgroup

import (
	"slices"
	"strings"
)

// delegated reports whether users can create cgroups below the i-th name, which is not a
// container's.
func delegated(names []string, i int) bool {
	name := names[i]
	switch {
	case i == 0 && ownersAreUsers(name):
		return true
	case strings.HasSuffix(name, ".scope"):
		// Sessions, virtual machines, commands of systemd-run.
		return true
	case !strings.HasSuffix(name, ".service"):
		return false
	}
	// A service with Delegate= creates cgroups as its own user, such as user@1000.service.
	if i != 1 || names[0] != "system.slice" {
		return true
	}
	// Podman creates the container's cgroup below that of its service.
	podman := i+2 <= len(names) && strings.HasPrefix(names[i+1], "libpod-payload-")
	return !podman && !isRuntime(strings.TrimSuffix(name, ".service"))
}

// ownersAreUsers reports whether a cgroup with this name, below the root, contains cgroups
// of users: of sessions (systemd; "user" of pam_cgfs), of LXC, and of batch systems, some
// of which make the user of a job the owner of its cgroup.
func ownersAreUsers(name string) bool {
	if name == "user.slice" || name == "user" {
		return true
	}
	return slices.ContainsFunc([]string{
		"lxc", "lxd", "incus", "slurm", "htcondor", "condor", "pbs", "lsf", "torque", "oar", "sge",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// isRuntime reports whether this is the service of a container runtime, which creates
// cgroups with relative paths below its own.
func isRuntime(service string) bool {
	switch service {
	case "containerd", "crio", "cri-o", "docker", "kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent",
		"k0scontroller", "k0sworker", "snap.microk8s.daemon-containerd", "snap.microk8s.daemon-kubelite":
		return true
	}
	return false
}
