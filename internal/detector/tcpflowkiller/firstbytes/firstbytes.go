// Package firstbytes has the part of tcpflowkiller that judges what a client says first on a
// connection: the words of stratum, and the names in DNS, TLS, HTTP CONNECT and SOCKS. The
// kernel programs are in *.bpf.h. Judge is the same in Go and without any cleverness: the
// tests compare both, and `cryptnono check` uses it.
package firstbytes

import "strings"

// A Finding is a set of what a stream has said: enum finding in stream.bpf.h.
type Finding uint32

// The findings.
const (
	Login    = Finding(bpfFindingSAID_LOGIN)
	Mining   = Finding(bpfFindingSAID_MINING)
	Eth      = Finding(bpfFindingSAID_ETH)
	Submit   = Finding(bpfFindingSAID_SUBMIT)
	Template = Finding(bpfFindingSAID_TEMPLATE)
	Work     = Finding(bpfFindingSAID_WORK)
	Query    = Finding(bpfFindingSAID_QUERY)  // a listed name in a DNS question
	Host     = Finding(bpfFindingSAID_HOST)   // in CONNECT or SOCKS
	Server   = Finding(bpfFindingSAID_SERVER) // in a ClientHello
	Hello    = Finding(bpfFindingSAID_HELLO)  // a whole ClientHello without ALPN

	// Stratum are the findings that are words of stratum, Sure those that nobody but a miner
	// says.
	Stratum = Sure | Template | Work
	Sure    = Login | Mining | Eth | Submit
)

var findingNames = [...]string{ //nolint:gochecknoglobals // read only
	"login", "mining", "eth", "submit", "template", "work", "query", "host", "server", "hello",
}

// String returns the names of the findings, the least first.
func (f Finding) String() string {
	var names []string
	for i, name := range findingNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// A NameAction is what is to be done with a process that names a listed name: enum name_action
// in names.bpf.h.
type NameAction uint32

// The actions.
const (
	NameUsual   = NameAction(bpfNameActionNAME_USUAL) // it depends on what else is seen
	NameObserve = NameAction(bpfNameActionNAME_OBSERVE)
	NameRefuse  = NameAction(bpfNameActionNAME_REFUSE)
	NameKill    = NameAction(bpfNameActionNAME_KILL)
)

// A Listed is the value of a name in the kernel's list, 0 if it is not in the list.
type Listed uint32

const actionShift = 28

// NewListed returns the value of a name with an index, at most MaxNames.
func NewListed(index int, action NameAction) Listed {
	return Listed(uint32(index)+1) | Listed(action)<<actionShift
}

// MaxNames is the number of names that a list can have.
const MaxNames = 1<<actionShift - 2

// Index returns the index of the name. l must not be 0.
func (l Listed) Index() int { return int(l&(1<<actionShift-1)) - 1 }

// Action returns what is to be done.
func (l Listed) Action() NameAction { return NameAction(l>>actionShift) & 3 }

// Decides are the findings that decide: in a stream that is none of the others, in the body of
// an HTTP request, and in a stream to a listed name.
type Decides struct{ Plain, HTTP, Listed Finding }
