package exempt

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/process"
)

// An event of a kernel program may be by the exemptions before a reload. Known asks only for the current ones.
func TestOnlyTheNameOfAnEventIsOfTheExemptionsBefore(t *testing.T) {
	at := new(cgroup.Parser).New(0, 2, []cgroup.Level{{ID: 5, Name: "docker"}, {ID: 6, Name: "x"}})
	before := &set{rules: Rules{Programs: []string{"/usr/bin/x"}}, exemptions: map[cgroup.Key]string{{ID: 6}: "namespace hub"}}
	for _, c := range []struct {
		event         process.Event
		program, name string
	}{
		{process.Event{}, "/usr/bin/x", "program /usr/bin/x"},
		{process.Event{Cgroup: at}, "", "namespace hub"},
		{process.Event{Cgroup: at}, "/usr/bin/y", "namespace hub"},
		{process.Event{}, "/usr/bin/y", ""},
	} {
		after := &Checker{current: new(set), previous: before}
		if name, known := after.Name(c.event, c.program), after.Known(c.event, c.program); name != c.name || known != "" {
			t.Errorf("after the change: named %q, want %q, and known %q", name, c.name, known)
		}
		if known := (&Checker{current: before}).Known(c.event, c.program); known != c.name {
			t.Errorf("in force: %q, want %q", known, c.name)
		}
	}
}
