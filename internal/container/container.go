// Package container has what is known of a container. Package runtimes looks it up.
package container

import "errors"

var (
	// ErrNotContainer means that the cgroup does not belong to a container.
	ErrNotContainer = errors.New("not in a container")
	// ErrUnknown means that no runtime knows the container, or not yet, or that its runtime
	// does not answer; then the error also wraps that error.
	ErrUnknown = errors.New("unknown container")
)

// A Container is the data of a runtime about a container. It is shared and must not be
// changed. The authors of pods and images choose names, image, labels and annotations: these are
// bounded, but not printable.
type Container struct {
	ID    string // as in its runtime
	Name  string // "" for a pod's sandbox container ("pause")
	Image string // as the user has specified it, if the runtime stores that

	Pod, Namespace, PodUID string // "" outside of Kubernetes

	// Labels are the pod's labels and those of the kubelet (io.kubernetes.*), or the
	// labels of a container of Docker: at most 64, and 16 KiB. Those of the kubelet take
	// precedence, then the order is by name.
	Labels map[string]string

	// Annotations are those of the pod that runtimes.Options names, as they were when the
	// pod was created; a value has at most 1 KiB.
	Annotations map[string]string

	// Nested is the container inside of this one, such as one of Docker in a pod, if a
	// runtime with a nested socket knows it. Processes in the outer container can fake it,
	// so no decision may depend on it.
	Nested *Container
}
