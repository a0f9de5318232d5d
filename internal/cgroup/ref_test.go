package cgroup

import (
	"strings"
	"testing"
)

// Ids of the usual form: 64 hexadecimal digits.
var (
	idA = strings.Repeat("0123456789abcdef", 4)
	idB = strings.Repeat("fedcba9876543210", 4)
)

const (
	uid        = "4a1b2c3d-0001-4aaa-8bbb-0123456789ab"
	uidSystemd = "4a1b2c3d_0001_4aaa_8bbb_0123456789ab"
	staticUID  = "c4e1d7a8b9f00123456789abcdef0123"
)

// expand replaces {A}, {B} and the uids in braces by ids.
func expand(path string) string {
	return strings.NewReplacer("{A}", idA, "{B}", idB, "{uid}", uid, "{u_i_d}", uidSystemd, "{static}", staticUID).Replace(path)
}

func TestTheContainerInAPathIsTheOutermostOne(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		want ContainerRef
	}{
		"the kubelet's cgroupfs form":       {"/kubepods/burstable/pod{uid}/{A}", ContainerRef{idA, uid, 3, ""}},
		"a guaranteed pod has no class":     {"/kubepods/pod{uid}/{A}", ContainerRef{idA, uid, 2, ""}},
		"the systemd form":                  {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u_i_d}.slice/cri-containerd-{A}.scope", ContainerRef{idA, uid, 3, ""}},
		"a guaranteed pod with systemd":     {"/kubepods.slice/kubepods-pod{u_i_d}.slice/crio-{A}.scope", ContainerRef{idA, uid, 2, ""}},
		"CRI-O with crun":                   {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_i_d}.slice/crio-{A}.scope/container", ContainerRef{idA, uid, 3, ""}},
		"Docker under Kubernetes":           {"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_i_d}.slice/docker-{A}.scope", ContainerRef{idA, uid, 3, ""}},
		"a static pod":                      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{static}.slice/cri-containerd-{A}.scope", ContainerRef{idA, staticUID, 3, ""}},
		"a kubelet with --cgroup-root":      {"/cluster/nodes/kubepods/besteffort/pod{uid}/{A}", ContainerRef{idA, uid, 5, ""}},
		"the same with systemd":             {"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{u_i_d}.slice/cri-containerd-{A}.scope", ContainerRef{idA, uid, 4, ""}},
		"a systemd path without systemd":    {"/system.slice/containerd.service/kubepods-besteffort-pod{u_i_d}.slice:cri-containerd:{A}", ContainerRef{idA, uid, 2, ""}},
		"the same in the root":              {"/kubepods-pod{u_i_d}.slice:cri-containerd:{A}", ContainerRef{idA, uid, 0, ""}},
		"the same of k3s":                   {"/system.slice/k3s.service/kubepods-burstable-pod{u_i_d}.slice:cri-containerd:{A}", ContainerRef{idA, uid, 2, ""}},
		"Docker":                            {"/docker/{A}", ContainerRef{idA, "", 1, ""}},
		"Docker with systemd":               {"/system.slice/docker-{A}.scope", ContainerRef{idA, "", 1, ""}},
		"Docker below a parent":             {"/actions_job/{A}", ContainerRef{idA, "", 1, ""}},
		"Docker of ECS":                     {"/ecs/0123456789abcdef/{A}", ContainerRef{idA, "", 2, ""}},
		"Podman":                            {"/machine.slice/libpod-{A}.scope/container", ContainerRef{idA, "", 1, ""}},
		"Podman's pod":                      {"/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope", ContainerRef{idA, "", 2, ""}},
		"Podman without systemd":            {"/libpod_parent/libpod-{A}", ContainerRef{idA, "", 1, ""}},
		"Podman in a service":               {"/system.slice/web.service/libpod-payload-{A}", ContainerRef{idA, "", 2, ""}},
		"nerdctl":                           {"/system.slice/nerdctl-{A}.scope", ContainerRef{idA, "", 1, ""}},
		"a namespace of containerd":         {"/k8s.io/{A}", ContainerRef{idA, "", 1, ""}},
		"ctr, with any name":                {"/default/my-container_1.2", ContainerRef{"my-container_1.2", "", 1, ""}},
		"BuildKit in Docker":                {"/docker/buildkit/q5cb7vbfmqyq5vvmm5h2opqcl", ContainerRef{"q5cb7vbfmqyq5vvmm5h2opqcl", "", 2, ""}},
		"BuildKit without Docker":           {"/buildkit/q5cb7vbfmqyq5vvmm5h2opqcl", ContainerRef{"q5cb7vbfmqyq5vvmm5h2opqcl", "", 1, ""}},
		"BuildKit in a container":           {"/docker/{A}/buildkit/q5cb7vbfmqyq5vvmm5h2opqcl", ContainerRef{idA, "", 1, "q5cb7vbfmqyq5vvmm5h2opqcl"}},
		"Docker in a pod":                   {"/kubepods/besteffort/pod{uid}/{A}/docker/{B}", ContainerRef{idA, uid, 3, idB}},
		"Docker with systemd in a pod":      {"/kubepods/besteffort/pod{uid}/{A}/system.slice/docker-{B}.scope", ContainerRef{idA, uid, 3, idB}},
		"a build in Docker in a pod":        {"/kubepods/besteffort/pod{uid}/{A}/docker/buildx/q5cb7vbfmqyq5vvmm5h2opqcl", ContainerRef{idA, uid, 3, "q5cb7vbfmqyq5vvmm5h2opqcl"}},
		"Podman in a pod":                   {"/kubepods/besteffort/pod{uid}/{A}/libpod_parent/libpod-{B}", ContainerRef{idA, uid, 3, idB}},
		"a pod of kind, seen from outside":  {"/docker/{A}/kubelet/kubepods/besteffort/pod{uid}/{B}", ContainerRef{idA, "", 1, idB}},
		"a removed cgroup":                  {"/kubepods/pod{uid}/{A} (deleted)", ContainerRef{idA, uid, 2, ""}},
		"a cgroup below the container":      {"/docker/{A}/user.slice/\x1b[2J/\xff\u202e", ContainerRef{idA, "", 1, ""}},
		"an empty name below the container": {"/docker/{A}//..", ContainerRef{idA, "", 1, ""}},
	} {
		if got := new(Parser).Parse(expand(c.path)); got != c.want {
			t.Errorf("%s: %s: got %+v, want %+v", name, c.path, got, c.want)
		}
	}
}

func TestNoContainerIsFoundInOtherPaths(t *testing.T) {
	for name, path := range map[string]string{
		"an empty path":                       "",
		"the root":                            "/",
		"a relative path":                     "docker/{A}",
		"a path that is cut at the start":     ".../docker/{A}",
		"relative to another root":            "/../docker/{A}",
		"two levels up":                       "/../../pod{uid}/{A}",
		"an empty name":                       "//docker/{A}",
		"a dot as name":                       "/./docker/{A}",
		"a service":                           "/system.slice/ssh.service",
		"the runtime":                         "/system.slice/containerd.service",
		"a pod":                               "/kubepods/burstable/pod{uid}",
		"a pod with systemd":                  "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u_i_d}.slice",
		"CRI-O's helper":                      "/kubepods.slice/kubepods-pod{u_i_d}.slice/crio-conmon-{A}.scope",
		"Podman's helper":                     "/machine.slice/libpod-conmon-{A}.scope",
		"a session":                           "/user.slice/user-1000.slice/session-3.scope",
		"a user's own Docker":                 "/user.slice/user-1000.slice/user@1000.service/docker-{A}.scope",
		"a user's forged pod":                 "/user.slice/user-1000.slice/user@1000.service/kubepods.slice/kubepods-pod{u_i_d}.slice/cri-containerd-{A}.scope",
		"the same with colons":                "/user.slice/user-1000.slice/user@1000.service/kubepods-pod{u_i_d}.slice:cri-containerd:{A}",
		"the same, directly below users":      "/user.slice/docker-{A}.scope",
		"a user's cgroup of pam_cgfs":         "/user/alice/0/docker/{A}",
		"a service with delegated cgroups":    "/system.slice/runner.service/kubepods/pod{uid}/{A}",
		"a runtime's name, in another slice":  "/system.slice/a.slice/containerd.service/docker/{A}",
		"Podman's name, but deeper":           "/system.slice/a.service/b/libpod-payload-{A}",
		"a scope of systemd-run":              "/system.slice/run-r0.scope/docker/{A}",
		"inside of LXC":                       "/lxc.payload.box/docker/{A}",
		"a job of Slurm":                      "/slurm/uid_1000/job_1/step_0/kubepods/pod{uid}/{A}",
		"an id that is too short":             "/docker/0123456789abcdef",
		"an id in capitals":                   "/docker/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
		"an id in a word":                     "/docker/x{A}",
		"a cut id in a name that was not cut": "/kubepods-pod{u_i_d}.slice:cri-containerd:0123456789abcdef0123456789abcdef",
		"a unit in a namespace of containerd": "/default/a.scope",
		"an invalid name for ctr":             "/default/..a",
		"a name for ctr that is too long":     "/default/" + strings.Repeat("a", 127),
	} {
		if got := new(Parser).Parse(expand(path)); got.Contained() {
			t.Errorf("%s: %s: got %+v", name, path, got)
		}
	}
}

func TestAPodIsFoundOnlyBelowTheKubeletsCgroup(t *testing.T) {
	for name, path := range map[string]string{
		"no kubepods":             "/burstable/pod{uid}/{A}",
		"a name between":          "/kubepods/burstable/x/pod{uid}/{A}",
		"an unknown class":        "/kubepods/worst/pod{uid}/{A}",
		"a container between":     "/kubepods/pod{uid}/x/{A}",
		"dots for a uid":          "/kubepods/pod../{A}",
		"no uid":                  "/kubepods/pod/{A}",
		"a uid that is too long":  "/kubepods/pod" + strings.Repeat("0", 65) + "/{A}",
		"control characters":      "/kubepods/pod\x1b[2J/{A}",
		"a slice in another one":  "/kubepods.slice/x-pod{u_i_d}.slice/cri-containerd-{A}.scope",
		"a slice by another name": "/xkubepods.slice/kubepods-pod{u_i_d}.slice/cri-containerd-{A}.scope",
	} {
		if got := new(Parser).Parse(expand(path)); got.ID != idA || got.PodUID != "" {
			t.Errorf("%s: %s: got %+v", name, path, got)
		}
	}
}

func TestWithARootOnlyPathsBelowItAreParsed(t *testing.T) {
	base, none := expand("/docker/{B}"), ContainerRef{Level: -1}
	for path, want := range map[string]ContainerRef{
		base + "/kubepods/pod{uid}/{A}":         {idA, uid, 4, ""},
		base + "/system.slice/docker-{A}.scope": {idA, "", 3, ""},
		base + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{u_i_d}.slice/cri-containerd-{A}.scope": {idA, uid, 5, ""},
		base:                                   none,
		base + "/":                             none,
		base + "x/docker/{A}":                  none,
		base + "/system.slice/kubelet.service": none,
		base + "/user.slice/docker/{A}":        {Level: 2}, // users can create cgroups below
		"/docker/{A}":                          none,
		"/docker/{A}/kubepods/pod{uid}/{A}":    none,
		base[:20] + "/kubepods/pod{uid}/{A}":   none,
		".../kubepods/pod{uid}/{A}":            none,
	} {
		if got := NewParser(base).Parse(expand(path)); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
	if got := NewParser("/").Parse(expand("/docker/{A}")); got.Level != 1 {
		t.Errorf("the root of the hierarchy: got %+v", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, path := range []string{
		"/kubepods/burstable/pod{uid}/{A}", "/docker/{A}/docker/{B}", "/system.slice/docker-{A}.scope", "/default/x",
		"/kubepods.slice/kubepods-pod{u_i_d}.slice/crio-{A}.scope/container",
		"/system.slice/containerd.service/kubepods-besteffort-pod{u_i_d}.slice:cri-containerd:{A}",
		"/user.slice/user-1000.slice/user@1000.service/docker/{A}", ".../docker/{A}", "/pod../..//\x00\xff/-pod.slice:crio:",
	} {
		f.Add(expand(path))
	}
	f.Fuzz(func(t *testing.T, path string) {
		p := new(Parser).Parse(path)
		if !p.Contained() {
			if p != (ContainerRef{Level: p.Level}) || p.Level < -1 || p.Level > strings.Count(path, "/") {
				t.Errorf("no container, but %+v", p)
			}
			return
		}
		names := strings.Split(path, "/")[1:]
		if !strings.HasPrefix(path, "/") || p.Level >= len(names) || !strings.Contains(names[p.Level], p.ID) {
			t.Fatalf("%+v is not in the path", p)
		}
		for _, id := range []string{p.ID, p.Nested} {
			if id != "" && !validID(id) || len(id) > maxIDBytes {
				t.Errorf("an invalid id: %q", id)
			}
		}
		if p.PodUID != "" && validUID(p.PodUID) == "" {
			t.Errorf("an invalid uid: %q", p.PodUID)
		}
		for i, name := range names[:p.Level] {
			if name == "" || name == "." || name == ".." || i == 0 && name == "user.slice" || strings.HasSuffix(name, ".scope") {
				t.Errorf("a container below %q, level %d", name, i)
			}
		}
		// Names below a container do not change the result.
		top := "/" + strings.Join(names[:p.Level+1], "/")
		for _, below := range []string{"", "/" + idB, "/docker/" + idB, "/user.slice", "/x.service/y", "/.."} {
			q := new(Parser).Parse(top + below)
			if len(top) < maxPathBytes-100 && (q.ID != p.ID || q.PodUID != p.PodUID || q.Level != p.Level) {
				t.Errorf("%q below: got %+v, want %+v", below, q, p)
			}
		}
	})
}
