package runtimes

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// podLabels are those of podConfig and containerConfig together.
func podLabels(pod, uid, name string) map[string]string {
	return map[string]string{
		"app": "hub", "component": "singleuser-server",
		podLabel: pod, namespaceKey: "binder", uidLabel: uid,
		nameLabel: name, "io.kubernetes.container.hash": "1",
	}
}

// annotations are those of podConfig that resolver asks for.
func annotations() map[string]string {
	return map[string]string{
		"hub.jupyter.org/username": "ada@example.com", "hub.jupyter.org/servername": strings.Repeat("x", maxLabelBytes-len("…")) + "…",
	}
}

func TestAContainerOfContainerdIsLookedUp(t *testing.T) {
	c := newContainerd(t)
	config := podConfig("jupyter-alice", uid, "/"+c.cgroups+"/kubepods/besteffort/pod"+uid)
	pod := c.sandbox(config)
	id := c.create(pod, config, c.containerConfig("notebook", "alice"))
	r := c.resolver()

	parent := config.GetLinux().GetCgroupParent()
	want := container.Container{
		ID: id, Name: "notebook", Image: testImage, Pod: "jupyter-alice", Namespace: "binder", PodUID: uid,
		Labels: podLabels("jupyter-alice", uid, "notebook"), Annotations: annotations(),
	}
	// Its cgroup with this path is created when it is started.
	if _, ok := r.Cached(at(parent + "/" + id)); ok {
		t.Error("cached before the first lookup")
	}
	check(t, r, parent+"/"+id, want)
	if _, ok := r.Cached(at(parent + "/" + id + "/below/it")); !ok {
		t.Error("not cached after a lookup")
	}

	c.startContainer(id)
	path := cgroupOf(t, "alice")
	if want := parent + "/" + id; path != want {
		t.Errorf("its cgroup is %q, want %q", path, want)
	}
	fresh := c.resolver()
	check(t, fresh, path, want)

	// Another pod's cgroup with the id of this container.
	_, err := fresh.Lookup(t.Context(), at(strings.Replace(path, uid, staticUID, 1)))
	if !errors.Is(err, container.ErrUnknown) {
		t.Errorf("in another pod's cgroup: %v", err)
	}
	if _, err := fresh.Lookup(t.Context(), at("/docker/"+id)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("in no pod's cgroup: %v", err)
	}

	// The sandbox container of the pod.
	want.ID, want.Name, want.Image = pod, "", ""
	maps.DeleteFunc(want.Labels, func(key, _ string) bool { return strings.HasPrefix(key, "io.kubernetes.container.") })
	check(t, fresh, parent+"/"+pod, want)

	// Removed, but cached.
	c.remove(pod)
	if got, err := r.Lookup(t.Context(), at(path)); err != nil || got.Pod != "jupyter-alice" {
		t.Errorf("after it was removed: got %+v, %v", got, err)
	}
	if _, err := c.resolver().Lookup(t.Context(), at(path)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("looked up after it was removed: %v", err)
	}
}

func TestAPathForSystemdIsParsedOnAMachineWithoutSystemd(t *testing.T) {
	c := newContainerd(t)
	slice := "kubepods-besteffort-pod" + uidSystemd + ".slice"
	config := podConfig("web", uid, slice)
	pod := c.sandbox(config)
	id := c.create(pod, config, c.containerConfig("web", "systemd"))
	c.startContainer(id)
	path := cgroupOf(t, "systemd")
	if !strings.HasSuffix(path, "/"+slice+":cri-containerd:"+id) {
		t.Errorf("its cgroup is %q", path)
	}
	want := container.Container{
		ID: id, Name: "web", Image: testImage, Pod: "web", Namespace: "binder", PodUID: uid,
		Labels: podLabels("web", uid, "web"), Annotations: annotations(),
	}
	r := c.resolver()
	ref := at(path)
	if !ref.Contained() {
		t.Fatalf("no container in %q", path)
	}
	if want := strings.Count(path, "/") - 1; ref.Level != want {
		t.Errorf("got level %d, want %d", ref.Level, want)
	}
	check(t, r, path, want)
	c.remove(pod)
}

func TestARestartedRuntimeIsQueriedAgain(t *testing.T) {
	c := newContainerd(t)
	config := podConfig("hub", uid, "/"+c.cgroups+"/kubepods/pod"+uid)
	pod := c.sandbox(config)
	first := c.create(pod, config, c.containerConfig("first"))
	r := c.resolver()
	path := config.GetLinux().GetCgroupParent() + "/"
	if got, err := r.Lookup(t.Context(), at(path+first)); err != nil || got.Name != "first" {
		t.Fatalf("got %+v, %v", got, err)
	}
	second := c.create(pod, config, c.containerConfig("second"))

	c.daemon.kill()
	began := time.Now()
	if _, err := r.Lookup(t.Context(), at(path+second)); !errors.Is(err, container.ErrUnknown) {
		t.Errorf("without a runtime: %v", err)
	}
	if got, err := r.Lookup(t.Context(), at(path+first)); err != nil || got.Name != "first" {
		t.Errorf("without a runtime: got %+v, %v", got, err)
	}
	if took := time.Since(began); took > requestTimeout {
		t.Errorf("without a runtime, it took %v", took)
	}

	c.restart()
	var got *container.Container
	testutil.Eventually(t, "the answer of the new runtime", func() bool {
		var err error
		got, err = r.Lookup(t.Context(), at(path+second))
		return err == nil
	})
	if got.Name != "second" {
		t.Errorf("got %+v", got)
	}
	c.remove(pod)
}

// check looks up a container and compares it.
func check(t *testing.T, r *Resolver, path string, want container.Container) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := r.Lookup(ctx, at(path))
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	labels, wantLabels := got.Labels, want.Labels
	rest := *got
	rest.Labels, want.Labels = nil, nil
	if rest.Nested, want.Nested = nil, nil; !equal(rest, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", path, rest, want)
	}
	if !maps.Equal(labels, wantLabels) {
		t.Errorf("%s:\n got labels %v\nwant %v", path, labels, wantLabels)
	}
}

func equal(a, b container.Container) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Image == b.Image &&
		a.Pod == b.Pod && a.Namespace == b.Namespace && a.PodUID == b.PodUID &&
		maps.Equal(a.Annotations, b.Annotations)
}
