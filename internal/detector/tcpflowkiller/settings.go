package tcpflowkiller

import (
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
}

// Defaults returns new settings with their defaults.
func Defaults() *Settings {
	return &Settings{Enabled: true, Action: Kill, Stratum: Kill, HTTP: Observe, Names: Kill}
}

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Judge connections."),
		setting.Choice("action", &s.Action, "The most that is done: `kill` the process and refuse its connection, only `refuse` it, or only "+
			"log (`observe`).", Kill, Refuse, Observe),
		setting.Choice("stratum", &s.Stratum, "What is done for a connection that begins with the words of a miner.", Kill, Refuse, Observe, Off),
		setting.Choice("http", &s.HTTP, "The same if they are in the body of an HTTP request, which others may send through a proxy.",
			Refuse, Observe, Off),
		setting.Choice("names", &s.Names, "What is done for an encrypted connection to a mining pool's name that is no web client's. "+
			"`kill` kills in containers, and only refuses outside.", Kill, Refuse, Observe, Off),
	}
}

// IsEnabled implements detector.Section.
func (s *Settings) IsEnabled() bool { return s.Enabled }

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
	hello, https := names.act(), min(names.act(), bpfActACT_OBSERVE)
	if names == Kill {
		hello = bpfActACT_KILL_CONTAINED
	}
	ambiguous := min(s.capped(s.Stratum).act(), bpfActACT_OBSERVE)
	listed := bpfActACT_NOTHING
	if s.Names != Off {
		listed = s.capped(s.Stratum).act()
	}
	return map[string]bpfAct{
		bpfVarActStratum: s.capped(s.Stratum).act(), bpfVarActAmbiguous: ambiguous, bpfVarActHttp: s.capped(s.HTTP).act(),
		bpfVarActListed: listed, bpfVarActHello: hello, bpfVarActHelloHttps: https, bpfVarActAddress: s.capped(Kill).act(),
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
