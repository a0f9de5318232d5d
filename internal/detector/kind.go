package detector

import (
	"context"
	"flag"
	"io"
	"time"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// A Kind is one entry in the list of detectors (package detectors): all that the rest of
// the program knows of it.
type Kind struct {
	Name     string         // in settings, logs and metrics
	Settings func() Section // returns new settings with their defaults
	// Load loads the detector into the kernel, where it is at work at once. The error
	// wraps ErrUnsupported if this machine lacks what the detector needs.
	Load func(Env, Policy) (Detector, error)
	// Scan, if not nil, looks once at all running processes. Without an inventory in the
	// Env, it only observes, and reads what the caller may read.
	Scan func(context.Context, Env, Policy) error
	// Capabilities are the numbers of the capabilities that only this detector needs. If it is
	// off at the start, the agent drops them, and the detector is not supported until a restart.
	Capabilities []int
	// Checks are flags of `cryptnono check`.
	Checks []Check
	// Views are subcommands of the program.
	Views []View
}

// A View is a subcommand that shows what a detector sees on this machine. It acts on nothing,
// and needs no running agent.
type View struct {
	Name, Short, Long string
	// New declares flags, which check their values. The function that it returns runs the view until ctx ends.
	New func(flags *flag.FlagSet) func(ctx context.Context, s Screen, p Policy) error
}

// A Screen is what the program gives to a view.
type Screen struct {
	Env        // its Judge only has a Reader: it cannot kill
	Containers report.Containers
	Out        io.Writer
}

// A Check shows what a policy means for something that is no command line.
type Check struct {
	Name  string // of the flag
	Value string // what the flag takes: a word of Help
	Help  string
	// Run returns a line of text, and whether a process would be killed.
	Run func(p Policy, value string) (text string, kills bool, err error)
}

// A Section holds the settings of one detector: the map with its name in the settings
// file. After the file is read it does not change.
type Section interface {
	// Table declares the settings.
	Table() setting.Table
	// IsEnabled reports whether the detector is to run.
	IsEnabled() bool
}

// A Policy is what the operator wants of a detector. It does not change; a reload applies
// another.
type Policy struct {
	Settings Section // of the type that the detector declares
	Observe  bool    // log matches without killing, whatever else says
	Matcher  *match.Matcher
	// ScanInterval is the time between two scans of running processes. 0 is for none, not
	// even at the start.
	ScanInterval time.Duration
	// LogEnv are the variables of a process's environment that are logged.
	LogEnv []string
	// LogExecs is true if each program that starts is logged, if the detector sees that.
	LogExecs bool
}

// Loader returns the Load of a Kind for a function that returns a detector of its own type.
func Loader[D Detector](load func(Env, Policy) (D, error)) func(Env, Policy) (Detector, error) {
	return func(e Env, p Policy) (Detector, error) {
		d, err := load(e, p)
		if err != nil {
			return nil, err // and not a D that is nil
		}
		return d, nil
	}
}
