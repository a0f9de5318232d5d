package runtimes

import (
	"maps"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/container"
	"github.com/cryptnono/cryptnono/internal/printable"
)

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
func bounded(c container.Container) *container.Container {
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
func size(c *container.Container) int {
	n := 256 + len(c.ID) + len(c.Name) + len(c.Image) + len(c.Pod) + len(c.Namespace) + len(c.PodUID)
	for _, texts := range []map[string]string{c.Labels, c.Annotations} {
		for key, value := range texts {
			n += 64 + len(key) + len(value)
		}
	}
	return n
}

// withoutPod returns a container without the names and labels of Kubernetes.
func withoutPod(c *container.Container) *container.Container {
	out := *c
	out.Pod, out.Namespace, out.PodUID = "", "", ""
	out.Labels = make(map[string]string, len(c.Labels))
	for key, value := range c.Labels {
		if !strings.HasPrefix(key, kubeletPrefix) {
			out.Labels[key] = value
		}
	}
	return &out
}

// withNested returns c with a nested container, which can be nil.
func withNested(c, nested *container.Container) *container.Container {
	if nested == nil {
		return c
	}
	out := *c
	out.Nested = nested
	return &out
}
