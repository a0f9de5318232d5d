package tcpflowkiller

import (
	"net"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func TestTheBuiltInPoolsAreListed(t *testing.T) {
	l := listsOf(rules.Builtin())
	if len(l.names) < 50 {
		t.Errorf("%d names", len(l.names))
	}
	names := l.kernelNames()
	if names["minexmr.com"].Action() != firstbytes.NameUsual || l.names[names["minexmr.com"].Index()].name != "minexmr.com" {
		t.Error("a pool is not listed")
	}
}

// Of rules for ports of one address, that of the port is named, and one for all ports that only observes
// does so at the others.
func TestTheRuleOfThePortIsNamed(t *testing.T) {
	const address = "127.9.9.9/32"
	all := prefixes(address, address, address)
	var open [3]*sink
	for i := range open {
		open[i] = newSink(t, "tcp4", "127.9.9.9:0")
		all[i].origin.Line = i + 1
		if i < 2 {
			all[i].ports = []uint16{open[i].Addr().(*net.TCPAddr).AddrPort().Port()}
		}
	}
	all[2].observe = true
	b := newBed(t, bedOptions{lists: lists{addresses: all}})
	for i, want := range []string{"killed", "killed", "observed"} {
		cmd, _ := b.start(order{Address: open[i].Addr().String(), Sends: sends("x")})
		ended(cmd)
		if l := b.line(cmd.Process.Pid); l["action"] != want || l["rule"] != all[i].origin.String() {
			t.Errorf("rule %d: %v", i+1, l)
		}
	}
}
