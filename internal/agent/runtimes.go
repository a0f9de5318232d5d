package agent

import (
	"slices"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/runtimes"
)

// sockets returns the sockets of the host's container runtimes and of runtimes in pods:
// the default ones and those of the settings. A socket in both lists counts as nested,
// which is trusted less.
func sockets(c config.Containers) (host, nested []string) {
	nested = union(runtimes.DefaultNestedSockets(), c.NestedSockets)
	host = slices.DeleteFunc(union(runtimes.DefaultSockets(), c.Sockets), func(path string) bool {
		return slices.Contains(nested, path)
	})
	return host, nested
}

// union appends to list the items of more that it does not contain.
func union(list, more []string) []string {
	for _, text := range more {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}
