package agent

import (
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/container"
)

func TestSocketsAreTheDefaultOnesAndThoseOfTheSettings(t *testing.T) {
	defaults, defaultNested := container.DefaultSockets(), container.DefaultNestedSockets()
	without := func(list []string, text string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == text })
	}
	for _, tt := range []struct {
		name         string
		settings     config.Containers
		host, nested []string
	}{
		{"no settings", config.Containers{}, defaults, defaultNested},
		{"empty lists", config.Containers{Sockets: []string{}, NestedSockets: []string{}}, defaults, defaultNested},
		{"others are added", config.Containers{Sockets: []string{"/a.sock"}, NestedSockets: []string{"/b.sock"}},
			append(container.DefaultSockets(), "/a.sock"), append(container.DefaultNestedSockets(), "/b.sock")},
		{"duplicates are removed", config.Containers{Sockets: []string{"/a.sock", defaults[0], "/a.sock"}},
			append(container.DefaultSockets(), "/a.sock"), defaultNested},
		{"a default nested socket stays nested", config.Containers{Sockets: defaultNested[:1]}, defaults, defaultNested},
		{"a default socket can be declared nested", config.Containers{NestedSockets: defaults[:1]},
			without(container.DefaultSockets(), defaults[0]), append(container.DefaultNestedSockets(), defaults[0])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, nested := sockets(tt.settings)
			if !slices.Equal(host, tt.host) || !slices.Equal(nested, tt.nested) {
				t.Errorf("got  %q and %q\nwant %q and %q", host, nested, tt.host, tt.nested)
			}
		})
	}
}
