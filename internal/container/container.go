// Package container looks up the containers and pods of cgroups in the container runtimes.
package container

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/printable"
)

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

	// Annotations are those of the pod that Options.Annotations names, as they were when the
	// pod was created; a value has at most 1 KiB.
	Annotations map[string]string

	// Nested is the container inside of this one, such as one of Docker in a pod, if a
	// runtime with a nested socket knows it. Processes in the outer container can fake it,
	// so no decision may depend on it.
	Nested *Container
}

const (
	maxLabels     = 64
	maxLabelBytes = 1 << 10  // of a value
	maxKeyBytes   = 317      // of a key: the limit of Kubernetes
	maxTextBytes  = 1 << 10  // of a name
	maxAllLabels  = 16 << 10 // of all keys and values together

	kubeletPrefix = "io.kubernetes."
	uidLabel      = kubeletPrefix + "pod.uid"
	podLabel      = kubeletPrefix + "pod.name"
	namespaceKey  = kubeletPrefix + "pod.namespace"
	nameLabel     = kubeletPrefix + "container.name"
)

// bounded returns c with truncated texts and labels.
func (c Container) bounded() *Container {
	for _, text := range []*string{&c.ID, &c.Name, &c.Image, &c.Pod, &c.Namespace, &c.PodUID} {
		*text = printable.Short(*text, maxTextBytes)
	}
	c.Labels = boundedLabels(c.Labels)
	for key, value := range c.Annotations {
		c.Annotations[key] = printable.Short(value, maxLabelBytes)
	}
	return &c
}

// boundedLabels returns the labels that fit, those of the kubelet first. It drops keys
// that are too long, because a truncated key would be another one.
func boundedLabels(labels map[string]string) map[string]string {
	keys := slices.SortedFunc(maps.Keys(labels), func(a, b string) int {
		if ours := strings.HasPrefix(a, kubeletPrefix); ours != strings.HasPrefix(b, kubeletPrefix) {
			if ours {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	out, size := make(map[string]string), 0
	for _, key := range keys {
		if len(key) > maxKeyBytes {
			continue
		}
		value := printable.Short(labels[key], maxLabelBytes)
		size += len(key) + len(value)
		if len(out) == maxLabels || size > maxAllLabels {
			break
		}
		out[key] = value
	}
	return out
}

// size is the approximate memory use of a container in bytes.
func (c *Container) size() int {
	n := 256 + len(c.ID) + len(c.Name) + len(c.Image) + len(c.Pod) + len(c.Namespace) + len(c.PodUID)
	for _, texts := range []map[string]string{c.Labels, c.Annotations} {
		for key, value := range texts {
			n += 64 + len(key) + len(value)
		}
	}
	return n
}
