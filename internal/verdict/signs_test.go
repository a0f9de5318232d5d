package verdict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

func TestSignsMeet(t *testing.T) {
	first := seenSign{Sign{Computes, "a: x"}, place{owner: "/kubepods/pod1/c1"}, time.Hour}
	with := func(s seenSign, change func(*seenSign)) seenSign {
		change(&s)
		return s
	}
	host := with(first, func(s *seenSign) {
		s.place = place{owner: "/user.slice/user-1000.slice", process: process.Instance{PID: 7, Start: 5}}
	})
	pool := func(s *seenSign) { s.Kind = NamesPool }
	tests := []struct {
		name  string
		first seenSign
		then  seenSign
		want  string
	}{
		{"in the same container", first, with(first, pool), "a: x"},
		{"in another container", first, with(first, func(s *seenSign) { pool(s); s.owner = "/kubepods/pod1/c2" }), ""},
		{"in a container in the container", first, with(first, func(s *seenSign) { pool(s); s.nested = "c2" }), ""},
		{"within ten minutes", first, with(first, func(s *seenSign) { pool(s); s.at += 10 * time.Minute }), "a: x"},
		{"later", first, with(first, func(s *seenSign) { pool(s); s.at += 10*time.Minute + 1 }), ""},
		{"the same process of the host", host, with(host, pool), "a: x"},
		{"another process of the host", host, with(host, func(s *seenSign) { pool(s); s.process.PID++ }), ""},
		{"a later process with its pid", host, with(host, func(s *seenSign) { pool(s); s.process.Start++ }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range [][2]seenSign{{tt.first, tt.then}, {with(tt.then, func(s *seenSign) { s.at, s.Text = tt.first.at, "a: x" }), with(tt.first, func(s *seenSign) { s.at = tt.then.at })}} {
				var s signs
				if got := s.meet(order[0]); got != "" {
					t.Errorf("the first one meets %q", got)
				}
				if got := s.meet(order[1]); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// A sign of each half is needed, and what other programs compute too needs more than TLS.
func TestWhichKindsMeet(t *testing.T) {
	meet := map[[2]SignKind]bool{
		{Computes, TLSToPool}: true, {Computes, NamesPool}: true, {MayCompute, NamesPool}: true,
	}
	for a := SignKind(0); a <= NamesPool; a++ {
		for b := SignKind(0); b <= NamesPool; b++ {
			if got, want := a.meets(b), meet[[2]SignKind{min(a, b), max(a, b)}]; got != want {
				t.Errorf("%d meets %d: %v", a, b, got)
			}
		}
	}
}

// A user, or root in a container, chooses the names of cgroups below, and so does not choose where
// signs meet outside.
func TestNobodyPlacesASignElsewhere(t *testing.T) {
	id, other := strings.Repeat("a", 64), strings.Repeat("b", 64)
	event := func(ofUser int, names ...string) process.Event {
		levels := make([]cgroup.Level, len(names))
		for i, name := range names {
			levels[i] = cgroup.Level{ID: uint64(i + 1), Name: name, OfUser: ofUser == i}
		}
		return process.Event{Who: process.Who{PID: 7, Start: 5}, Cgroup: cgroup.Parser{}.New(0, len(levels), levels)}
	}
	victim := event(-1, "kubepods", "pod1", id)
	for name, e := range map[string]process.Event{
		"a user's cgroup with the name of a container": event(1, "kubepods", "mine", id),
		"below a session":         event(-1, "user.slice", "user-1000.slice", "session-1.scope", "kubepods", "pod1", id),
		"below another container": event(-1, "kubepods", "pod1", other, "kubepods", "pod1", id),
		"too deep to be known":    event(-1, "1", "2", "3", "4", "5", "6", "7", "8"),
		"a container in the container, as its root can call it": event(-1, "kubepods", "pod1", id, other),
	} {
		if placeOf(e) == placeOf(victim) {
			t.Errorf("%s: %+v", name, placeOf(e))
		}
	}
	if got := placeOf(event(-1, "kubepods", "pod1", id, "any")); got != placeOf(victim) {
		t.Errorf("a cgroup of the container is another place: %+v", got)
	}
}

// A user with many processes, and many users, cost no more memory, and the one does not cost
// another one's signs.
func TestSignsAreBounded(t *testing.T) {
	var s signs
	at := func(owner string, pid int) place { return place{owner: owner, process: process.Instance{PID: pid}} }
	s.meet(seenSign{Sign: Sign{Computes, "other's"}, place: at("other", 0)})
	for i := range 10 * maxSigns {
		s.meet(seenSign{Sign: Sign{NamesPool, "own"}, place: at("own", i)})
	}
	if n := len(s.seen); n != maxOwnSigns+1 {
		t.Errorf("%d signs of two owners", n)
	}
	if got := s.meet(seenSign{Sign: Sign{Kind: NamesPool}, place: at("other", 0)}); got != "other's" {
		t.Errorf("the sign of another owner is lost: %q", got)
	}
	for i := range 10 * maxSigns {
		s.meet(seenSign{Sign: Sign{Kind: Computes}, place: at(fmt.Sprint(i), 0)})
	}
	if n := len(s.seen); n != maxSigns {
		t.Errorf("%d signs", n)
	}
}
