// Package container tells which container, and which pod, a cgroup belongs to:
// the path names the container, and the container runtime knows the rest.
package container

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	// ErrNone is of a path that leads into no container.
	ErrNone = errors.New("not in a container")
	// ErrUnknown is of a container that no runtime knows, or none yet, or whose
	// runtime does not answer; what it wraps besides tells which.
	ErrUnknown = errors.New("unknown container")
)

// A Container is what its runtime knows of it. It is shared, so not to be
// changed. Names, image and labels were chosen by the authors of pods and
// images: all of them are bounded, none is made safe to print.
type Container struct {
	ID    string // as the runtime has it
	Name  string // "" for the one that holds a pod's namespaces ("pause")
	Image string // as its user wrote it, where the runtime remembers that

	Pod, Namespace, PodUID string // "" outside of Kubernetes

	// Labels are those of the pod and the kubelet's own (io.kubernetes.*), or
	// those of a container of Docker: 64 of them at most, and 16 KiB. The
	// kubelet's come first, then the others by name.
	Labels map[string]string

	// Inner is the container inside of this one that the path leads into, if
	// one of the inner sockets knows it: that of Docker in a pod. Whoever makes
	// cgroups in there can name another one, so nothing may depend on it.
	Inner *Container
}

const (
	maxLabels     = 64
	maxLabelBytes = 1 << 10  // of a value
	maxKeyBytes   = 317      // of a key: what Kubernetes allows
	maxTextBytes  = 1 << 10  // of a name
	maxAllLabels  = 16 << 10 // of all keys and values together

	kubeletPrefix = "io.kubernetes."
	uidLabel      = kubeletPrefix + "pod.uid"
	podLabel      = kubeletPrefix + "pod.name"
	namespaceKey  = kubeletPrefix + "pod.namespace"
	nameLabel     = kubeletPrefix + "container.name"
)

// bounded returns c with each text cut to its bound.
func (c Container) bounded() *Container {
	for _, text := range []*string{&c.ID, &c.Name, &c.Image, &c.Pod, &c.Namespace, &c.PodUID} {
		*text = cut(*text, maxTextBytes)
	}
	c.Labels = boundedLabels(c.Labels)
	return &c
}

// boundedLabels returns what fits, the kubelet's labels first. A key that is
// too long is left out: cut, it would be another one.
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
		value := cut(labels[key], maxLabelBytes)
		size += len(key) + len(value)
		if len(out) == maxLabels || size > maxAllLabels {
			break
		}
		out[key] = value
	}
	return out
}

// cut returns a text of limit bytes at most; an ellipsis is the end of one that
// was cut, so that it equals no whole one.
func cut(s string, limit int) string {
	const end = "…"
	if len(s) <= limit {
		return s
	}
	s = s[:limit-len(end)]
	for len(s) > 0 && !utf8.ValidString(s[max(0, len(s)-utf8.UTFMax):]) {
		r, n := utf8.DecodeLastRuneInString(s)
		if r != utf8.RuneError || n > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + end // a copy: the long text is not kept
}

// size is what a container takes in memory, roughly and in bytes.
func (c *Container) size() int {
	n := 256 + len(c.ID) + len(c.Name) + len(c.Image) + len(c.Pod) + len(c.Namespace) + len(c.PodUID)
	for key, value := range c.Labels {
		n += 64 + len(key) + len(value)
	}
	return n
}
