package cgroup

import (
	"slices"
	"strings"
)

// delegated reports whether users can name cgroups below the i-th of these, which is not a
// container's.
func delegated(names []string, i int) bool {
	name := names[i]
	switch {
	case i == 0 && ownersAreUsers(name):
		return true
	case strings.HasSuffix(name, ".scope"):
		// Sessions, virtual machines, what systemd-run starts.
		return true
	case !strings.HasSuffix(name, ".service"):
		return false
	}
	// A service with Delegate= makes cgroups as the user it runs as.
	// user@1000.service is one of those.
	if i != 1 || names[0] != "system.slice" {
		return true
	}
	// Of the service that runs it, Podman makes a container.
	podman := i+2 <= len(names) && strings.HasPrefix(names[i+1], "libpod-payload-")
	return !podman && !isRuntime(strings.TrimSuffix(name, ".service"))
}

// ownersAreUsers reports whether a cgroup of this name, in the root, holds
// cgroups that belong to users or to containers of their own kind: sessions
// (systemd; pam_cgfs has "user"), LXC, and batch systems, some of which give
// the cgroup of a job to its user.
func ownersAreUsers(name string) bool {
	if name == "user.slice" || name == "user" {
		return true
	}
	return slices.ContainsFunc([]string{
		"lxc", "lxd", "incus", "slurm", "htcondor", "condor", "pbs", "lsf", "torque", "oar", "sge",
	}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// isRuntime reports whether this is the service of a container runtime, in which
// it makes cgroups for relative paths.
func isRuntime(service string) bool {
	switch service {
	case "containerd", "crio", "cri-o", "docker", "kubelet", "k3s", "k3s-agent", "rke2-server", "rke2-agent",
		"k0scontroller", "k0sworker", "snap.microk8s.daemon-containerd", "snap.microk8s.daemon-kubelite":
		return true
	}
	return false
}
