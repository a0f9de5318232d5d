package tcpflowkiller

import (
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/tcpflowkiller/firstbytes"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// Kind describes the detector.
func Kind() detector.Kind {
	return detector.Kind{
		Name:     Name,
		Settings: func() detector.Section { return Defaults() },
		Load:     detector.Loader(Load),
		// To attach programs to a cgroup.
		Capabilities: []int{unix.CAP_NET_ADMIN},
		Checks:       checks(),
	}
}

// An Action is what is done for a connection.
type Action string

// The actions. Each but Off and Observe refuses the connection.
const (
	Kill    Action = "kill" // and kills the process
	Refuse  Action = "refuse"
	Observe Action = "observe" // only logs
	Off     Action = "off"
)

// act returns the same for the kernel.
func (a Action) act() bpfAct {
	switch a {
	case Kill:
		return bpfActACT_KILL
	case Refuse:
		return bpfActACT_REFUSE
	case Observe:
		return bpfActACT_OBSERVE
	case Off:
	}
	return bpfActACT_NOTHING
}

// Settings are the section of the settings file.
type Settings struct {
	Enabled bool
	Action  Action // the most that is done
	Stratum Action // for the words of miners
	HTTP    Action // for these words in the body of a request
	Names   Action // for what is said to a pool whose name is known
	Scan    ScanSettings
}

// ScanSettings are the limits for what a process tries to reach. 0 turns a limit off.
type ScanSettings struct {
	Action      Action // for unanswered, pending and ports
	Unanswered  int    // destinations that did not answer
	WebFactor   int    // of Unanswered, for ports 80 and 443
	Pending     int    // destinations without an answer yet
	Ports       int    // ports of one address without an answer
	Guessing    int    // hosts on one log-in port
	Distinct    int    // destinations, whatever they answer
	Window      time.Duration
	ExceptPorts []string
}

// isOn reports whether there is a limit.
func (s *ScanSettings) isOn() bool {
	return s.Distinct > 0 || s.Action != Off && s.Unanswered+s.Pending+s.Ports+s.Guessing > 0
}

// exceptPorts returns the ports that are not counted.
func (s *ScanSettings) exceptPorts() (ports []uint16) {
	for _, text := range s.ExceptPorts {
		if n, err := strconv.ParseUint(text, 10, 16); err == nil {
			ports = append(ports, uint16(n))
		}
	}
	return ports
}

func checkPort(text string) error {
	if n, err := strconv.ParseUint(text, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return nil
}

// maxDestinations is the maximum of a limit: the kernel remembers PLACES destinations.
const maxDestinations = 250

// Defaults returns new settings with their defaults.
func Defaults() *Settings {
	return &Settings{
		Enabled: true, Action: Kill, Stratum: Kill, HTTP: Observe, Names: Kill,
		Scan: ScanSettings{Action: Observe, Unanswered: 16, WebFactor: 3, Pending: 48, Ports: 32, Guessing: 24, Window: time.Minute},
	}
}

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Check connections: by banned addresses, the words of miners, and the names of pools. It needs CAP_NET_ADMIN."),
		setting.Choice("action", &s.Action, "The most that is done: `kill` the process and refuse its connection, only `refuse` it, or only "+
			"log (`observe`).", Kill, Refuse, Observe),
		setting.Choice("stratum", &s.Stratum, "What is done for a connection that begins with the words of a miner.", Kill, Refuse, Observe, Off),
		setting.Choice("http", &s.HTTP, "The same if they are in the body of an HTTP request, which others may send through a proxy.",
			Refuse, Observe, Off),
		setting.Choice("names", &s.Names, "What is done for an encrypted connection to a mining pool's name that does not look like that of a web client. "+
			"`kill` kills in containers, and only refuses outside.", Kill, Refuse, Observe, Off),
		setting.Group("scan", s.Scan.table()),
	}
}

// IsEnabled implements detector.Section.
func (s *Settings) IsEnabled() bool { return s.Enabled }

// JudgesConnections tells package sanity that the rules for connections are for this detector.
func (s *Settings) JudgesConnections() {}

// capped returns the lesser of an action and the most that is done.
func (s *Settings) capped(a Action) Action {
	if a.act() > s.Action.act() {
		return s.Action
	}
	return a
}

// acts are the actions of a policy for the kernel, by the names of its variables.
func (s *Settings) acts() map[string]bpfAct {
	names := s.capped(s.Names)
	hello, https, mark := names.act(), min(names.act(), bpfActACT_OBSERVE), bpfActACT_NOTHING
	if names == Kill {
		hello, mark = bpfActACT_KILL_CONTAINED, bpfActACT_MARK
	}
	ambiguous := min(s.capped(s.Stratum).act(), bpfActACT_OBSERVE)
	listed := bpfActACT_NOTHING
	if s.Names != Off {
		listed = s.capped(s.Stratum).act()
	}
	return map[string]bpfAct{
		bpfVarActStratum: s.capped(s.Stratum).act(), bpfVarActAmbiguous: ambiguous, bpfVarActHttp: s.capped(s.HTTP).act(),
		bpfVarActListed: listed, bpfVarActHello: hello, bpfVarActHelloHttps: https, bpfVarActMark: mark, bpfVarActAddress: s.capped(Kill).act(),
	}
}

// decides returns the findings for which more than observing is done.
func (s *Settings) decides() firstbytes.Decides {
	acts := s.acts()
	decide := func(variable string, f firstbytes.Finding) firstbytes.Finding {
		if acts[variable] > bpfActACT_OBSERVE {
			return f
		}
		return 0
	}
	d := firstbytes.Decides{
		Plain: decide(bpfVarActStratum, firstbytes.Sure) | decide(bpfVarActAmbiguous, firstbytes.Template|firstbytes.Work),
		HTTP:  decide(bpfVarActHttp, firstbytes.Stratum),
	}
	d.Listed = d.Plain | decide(bpfVarActListed, firstbytes.Stratum)
	return d
}

func (s *ScanSettings) table() setting.Table {
	limit := func(key string, p *int, help string) setting.Setting {
		return setting.Int(key, p, 0, maxDestinations, help+" 0 turns the limit off.")
	}
	return setting.Table{
		setting.Choice("action", &s.Action, "What is done with a process that reaches the limit `unanswered`, `pending` or `ports`. "+
			"One that reaches `guessing` is only logged.", Kill, Observe, Off),
		limit("unanswered", &s.Unanswered, "Public destinations of a process that refused or did not answer, if they are two thirds of all "+
			"and most are on one port."),
		setting.Int("webFactor", &s.WebFactor, 1, 10, "How many times as many they may be on ports 80 and 443."),
		limit("pending", &s.Pending, "Public destinations of a process without an answer, at one time."),
		limit("ports", &s.Ports, "Ports of one public address without an answer."),
		limit("guessing", &s.Guessing, "Public addresses that a process reaches on one log-in port, such as that of SSH."),
		limit("distinct", &s.Distinct, "Public destinations of a process, with any answer. More kill it. This is "+
			"`unique_destinations_threshold` of earlier versions; browsers and crawlers reach it as well."),
		setting.Duration("window", &s.Window, time.Second, time.Hour, "Time for which a destination counts."),
		setting.Texts("exceptPorts", &s.ExceptPorts, setting.Syntax{Name: "ports", Check: checkPort, Pattern: "^[0-9]{1,5}$", Numbers: true},
			"Ports that are not counted."),
	}
}

// scanVariables are the limits for the kernel, by the names of its variables.
func (s *Settings) scanVariables() map[string]any {
	c := &s.Scan
	limit := func(n int) uint32 {
		if c.Action == Off {
			return 0
		}
		return uint32(n)
	}
	return map[string]any{
		bpfVarScanDistinct: uint32(c.Distinct), bpfVarScanUnanswered: limit(c.Unanswered), bpfVarScanWebFactor: uint32(c.WebFactor),
		bpfVarScanPending: limit(c.Pending), bpfVarScanPorts: limit(c.Ports), bpfVarScanGuessing: limit(c.Guessing),
		bpfVarScanWindowS: uint32(c.Window / time.Second), bpfVarHasExceptPorts: len(c.ExceptPorts) > 0,
		bpfVarActDistinct: uint32(s.capped(Kill).act()), bpfVarActScan: uint32(s.capped(c.Action).act()), bpfVarActGuessing: uint32(bpfActACT_OBSERVE),
	}
}
