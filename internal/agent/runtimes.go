package agent

import (
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/container"
)

// sockets returns those of the host's container runtimes, and those of runtimes in
// pods: the usual ones, and what the settings add. What is in both lists is in a
// pod, which is trusted less.
func sockets(c config.Containers) (host, inner []string) {
	inner = with(container.DefaultNestedSockets(), c.NestedSockets)
	host = slices.DeleteFunc(with(container.DefaultSockets(), c.Sockets), func(path string) bool {
		return slices.Contains(inner, path)
	})
	return host, inner
}

// with returns list with those of more that it lacks.
func with(list, more []string) []string {
	for _, text := range more {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}
