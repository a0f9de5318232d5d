package agent

import (
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/runtimes"
)

func TestSocketsAreTheDefaultOnesAndThoseOfTheSettings(t *testing.T) {
	defaults, defaultNested := runtimes.DefaultSockets(), runtimes.DefaultNestedSockets()
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
			append(runtimes.DefaultSockets(), "/a.sock"), append(runtimes.DefaultNestedSockets(), "/b.sock")},
		{"duplicates are removed", config.Containers{Sockets: []string{"/a.sock", defaults[0], "/a.sock"}},
			append(runtimes.DefaultSockets(), "/a.sock"), defaultNested},
		{"a default nested socket stays nested", config.Containers{Sockets: defaultNested[:1]}, defaults, defaultNested},
		{"a default socket can be declared nested", config.Containers{NestedSockets: defaults[:1]},
			without(runtimes.DefaultSockets(), defaults[0]), append(runtimes.DefaultNestedSockets(), defaults[0])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, nested := sockets(tt.settings)
			if !slices.Equal(host, tt.host) || !slices.Equal(nested, tt.nested) {
				t.Errorf("got  %q and %q\nwant %q and %q", host, nested, tt.host, tt.nested)
			}
		})
	}
}
