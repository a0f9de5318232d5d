package agent

import (
	"slices"
	"testing"

	"github.com/cryptnono/cryptnono/internal/config"
	"github.com/cryptnono/cryptnono/internal/container"
)

func TestSocketsAreTheUsualOnesAndThoseOfTheSettings(t *testing.T) {
	usual, usualInner := container.DefaultSockets(), container.DefaultNestedSockets()
	without := func(list []string, text string) []string {
		return slices.DeleteFunc(list, func(s string) bool { return s == text })
	}
	for _, tt := range []struct {
		name        string
		settings    config.Containers
		host, inner []string
	}{
		{"nothing is set", config.Containers{}, usual, usualInner},
		{"empty lists", config.Containers{Sockets: []string{}, NestedSockets: []string{}}, usual, usualInner},
		{"others are added", config.Containers{Sockets: []string{"/a.sock"}, NestedSockets: []string{"/b.sock"}},
			append(container.DefaultSockets(), "/a.sock"), append(container.DefaultNestedSockets(), "/b.sock")},
		{"none is there twice", config.Containers{Sockets: []string{"/a.sock", usual[0], "/a.sock"}},
			append(container.DefaultSockets(), "/a.sock"), usualInner},
		{"one that is usual in pods is in a pod", config.Containers{Sockets: usualInner[:1]}, usual, usualInner},
		{"one that is said to be in a pod is", config.Containers{NestedSockets: usual[:1]},
			without(container.DefaultSockets(), usual[0]), append(container.DefaultNestedSockets(), usual[0])},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host, inner := sockets(tt.settings)
			if !slices.Equal(host, tt.host) || !slices.Equal(inner, tt.inner) {
				t.Errorf("got  %q and %q\nwant %q and %q", host, inner, tt.host, tt.inner)
			}
		})
	}
}
