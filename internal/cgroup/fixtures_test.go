package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixtures has the container in each file in testdata/cgroup. A line can have no
// container, if the runtime does not use that hierarchy, or only the outermost one.
var fixtures = map[string]ContainerRef{
	"containerd-v1-cgroupfs":          {idA, uid, 3, ""},
	"containerd-v2-systemd":           {idA, uid, 3, ""},
	"containerd-hybrid-systemd":       {idA, uid, 3, ""},
	"containerd-hybrid-cgroupfs":      {idA, uid, 3, ""},
	"containerd-hybrid-colons":        {idA, uid, 0, ""},
	"containerd-v1-colons-in-service": {idA, uid, 2, ""},
	"k3s-v2":                          {idA, uid, 3, ""},
	"k3s-v1-colons":                   {idA, uid, 2, ""},
	"crio-v1-systemd":                 {idA, uid, 3, ""},
	"crio-v2-crun":                    {idA, uid, 3, ""},
	"crio-v2-static-pod":              {idA, staticUID, 3, ""},
	"crio-v1-cgroupfs":                {idA, uid, 3, ""},
	"crio-v2-conmon":                  {},
	"guaranteed-v2-systemd":           {idA, uid, 2, ""},
	"cri-dockerd-v2-systemd":          {idA, uid, 3, ""},
	"kubelet-cgroup-root-v2":          {idA, uid, 4, ""},
	"kind-v2":                         {idB, "", 1, idA},
	"docker-v1-cgroupfs":              {idA, "", 1, ""},
	"docker-v1-systemd":               {idA, "", 1, ""},
	"docker-v2-systemd":               {idA, "", 1, ""},
	"docker-hybrid-v2-unused":         {idA, "", 1, ""},
	"dind-pod-hybrid":                 {idA, uid, 3, idB},
	"dind-pod-v2":                     {idA, uid, 3, idB},
	"dind-pod-v2-systemd":             {idA, uid, 3, idB},
	"buildkit-in-docker-v1":           {worker, "", 2, ""},
	"buildkit-in-docker-v2":           {worker, "", 3, ""},
	"buildkit-container-v2":           {idA, "", 1, worker},
	"buildkit-dind-pod-v1":            {idA, uid, 3, worker},
	"podman-v2-systemd":               {idA, "", 1, ""},
	"podman-v2-quadlet":               {idA, "", 2, ""},
	"podman-v1-cgroupfs":              {idA, "", 1, ""},
	"podman-rootless-v2":              {},
	"containerd-ctr-v2":               {"shell", "", 1, ""},
	"nerdctl-v2-systemd":              {idA, "", 1, ""},
	"lxc-v2":                          {},
	"session-hybrid":                  {},
	"hostile-names-below":             {idA, uid, 3, idB},
	"hostile-user-forges-a-pod":       {},
	"hostile-service-forges-a-pod":    {},
	"hostile-removed":                 {idA, "", 1, ""},
}

// worker is the id of a container of BuildKit.
const worker = "q5cb7vbfmqyq5vvmm5h2opqcl"

func TestThePathsOfEachRuntimeAreParsed(t *testing.T) {
	files, err := filepath.Glob("testdata/cgroup/*")
	if err != nil || len(files) != len(fixtures)+1 { // and README.md
		t.Fatalf("%d files for %d fixtures, %v", len(files), len(fixtures), err)
	}
	for name, want := range fixtures {
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(filepath.Join("testdata/cgroup", name))
			if err != nil {
				t.Fatal(err)
			}
			found := 0
			for line := range strings.Lines(string(content)) {
				path := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)[2]
				got := new(Parser).Parse(path)
				ok := got.Contained()
				if !ok && got == (ContainerRef{Level: got.Level}) {
					got = ContainerRef{} // Level is tested elsewhere
				}
				outermost := want
				outermost.Nested = ""
				switch {
				case got == want:
					found++
				case got == outermost && strings.HasPrefix(line, "0:"):
				case !ok && strings.HasPrefix(line, "0:"):
				default:
					t.Errorf("%s: got %+v, want %+v", path, got, want)
				}
			}
			if found == 0 {
				t.Errorf("no line contains %+v", want)
			}
		})
	}
}

func TestAPodOfKindIsParsedWithTheRootOfItsNode(t *testing.T) {
	content, err := os.ReadFile("testdata/cgroup/kind-v2")
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(strings.TrimSpace(string(content)), "0::")
	want := ContainerRef{idA, uid, 5, ""}
	if got := NewParser("/docker/" + idB).Parse(path); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
