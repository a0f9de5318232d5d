package runtimes

import (
	"errors"
	"maps"
	"net/http"
	"os"
	"testing"

	runtime "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/cryptnono/cryptnono/internal/container"
)

func TestAContainerOfDockerIsLookedUp(t *testing.T) {
	h := newHost(t)
	h.start(append(dockerArgs(h.dir), "--cgroup-parent=/"+h.cgroups)...)
	d := connectDocker(t, h.path("docker.sock"))
	d.importImage(testImage)
	labels := map[string]string{
		"com.example.team": "blue",
		// An image can have such labels.
		namespaceKey: "kube-system", podLabel: "etcd", uidLabel: uid,
	}
	id := d.create("worker", testImage, "docker", labels)
	want := container.Container{ID: id, Name: "worker", Image: testImage, Labels: map[string]string{"com.example.team": "blue"}}
	check(t, quiet(t, h.dir, "/docker.sock"), "/docker/"+id, want)

	d.do(http.MethodPost, "/containers/"+id+"/start", nil, nil)
	path := cgroupOf(t, "docker")
	if want := "/" + h.cgroups + "/" + id; path != want {
		t.Errorf("its cgroup is %q, want %q", path, want)
	}
	r := quiet(t, h.dir, "/none/docker.sock", "/docker.sock")
	check(t, r, path, want)
	check(t, r, path+"/docker/"+idB, want)

	// A container whose name looks like an id.
	d.create(idB, testImage, "other", nil)
	if _, err := r.Lookup(t.Context(), at("/docker/"+idB)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("by the name of a container: %v", err)
	}
	// In the cgroup of the pod that the labels name.
	inPod := want
	inPod.Pod, inPod.Namespace, inPod.PodUID, inPod.Labels = "etcd", "kube-system", uid, maps.Clone(labels)
	check(t, r, "/kubepods/pod"+uid+"/"+id, inPod)
	if _, err := r.Lookup(t.Context(), at("/kubepods/pod"+staticUID+"/"+id)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("in another pod's cgroup: %v", err)
	}

	d.do(http.MethodDelete, "/containers/"+id+"?force=true", nil, nil)
	check(t, r, path, want)
	if _, err := quiet(t, h.dir, "/docker.sock").Lookup(t.Context(), at(path)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("looked up after it was removed: %v", err)
	}
}

func TestANestedContainerOfDockerInAPodIsLookedUp(t *testing.T) {
	c := newContainerd(t)
	config := podConfig("dind", uid, "/"+c.cgroups+"/kubepods/besteffort/pod"+uid)
	// The daemon uses the programs of this machine.
	spec := c.containerConfig("dind")
	spec.Args = nil
	spec.Command = append([]string{"/usr/bin/env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, dockerArgs("/data")...)
	for _, dir := range []string{"/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc"} {
		if _, err := os.Stat(dir); err == nil {
			spec.Mounts = append(spec.Mounts, &runtime.Mount{HostPath: dir, ContainerPath: dir, Readonly: true})
		}
	}
	if err := os.Mkdir(c.path("dind"), 0o700); err != nil {
		t.Fatal(err)
	}
	spec.Mounts = append(spec.Mounts, &runtime.Mount{HostPath: c.path("dind"), ContainerPath: "/data"})
	spec.LogPath = "dind.log"
	config.LogDirectory = c.dir
	spec.Linux = &runtime.LinuxContainerConfig{SecurityContext: &runtime.LinuxContainerSecurityContext{
		Privileged: true, NamespaceOptions: hostNetwork(),
	}}
	config.Linux.SecurityContext.Privileged = true
	pod := c.sandbox(config)
	outer := c.create(pod, config, spec)
	c.startContainer(outer)
	defer func() {
		if t.Failed() {
			log, _ := os.ReadFile(c.path("dind.log"))
			t.Logf("dockerd in the pod printed:\n%s", log)
		}
	}()
	d := connectDocker(t, c.path("dind/docker.sock"))
	d.importImage(testImage)
	inner := d.create("build", testImage, "inside", map[string]string{"repo": "x", uidLabel: uid})
	d.do(http.MethodPost, "/containers/"+inner+"/start", nil, nil)
	path := cgroupOf(t, "inside")
	outerPath := config.GetLinux().GetCgroupParent() + "/" + outer
	switch path {
	case outerPath + "/docker/" + inner:
	case "/docker/" + inner: // v2, where the pod has the host's cgroup namespace
		path = outerPath + path
	default:
		t.Errorf("its cgroup is %q", path)
	}

	r := c.resolver(c.path("dind/docker.sock"))
	if got, err := r.Lookup(t.Context(), at(path)); err != nil || got.Name != "dind" || got.Nested == nil ||
		!equal(*got.Nested, container.Container{ID: inner, Name: "build", Image: testImage}) || got.Nested.Labels["repo"] != "x" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, ok := r.Cached(at(path)); !ok || got.Nested == nil || got.Nested.Name != "build" {
		t.Errorf("cached %+v", got)
	}
	if got, ok := r.Cached(at(outerPath)); !ok || got.Name != "dind" || got.Nested != nil {
		t.Errorf("cached %+v for the outer container", got)
	}
	// An unknown nested container does not affect the outer one.
	if got, err := r.Lookup(t.Context(), at(outerPath+"/docker/"+idB)); err != nil || got.Name != "dind" || got.Nested != nil {
		t.Errorf("got %+v, %v", got, err)
	}
	// Outside of the pod's cgroup, it is not a container of a pod.
	check(t, r, "/docker/"+inner, container.Container{
		ID: inner, Name: "build", Image: testImage, Labels: map[string]string{"repo": "x"},
	})
	if got, err := r.Lookup(t.Context(), at("/kubepods/pod"+uid+"/"+inner)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("directly in the pod's cgroup: got %+v, %v", got, err)
	}
	d.do(http.MethodDelete, "/containers/"+inner+"?force=true", nil, nil)
	c.remove(pod)
}
