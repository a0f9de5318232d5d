package notify

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// A Receiver is an HTTP server that is notified of verdicts.
type Receiver struct {
	Name        string // in the log and in metrics
	Format      Format
	URL         string
	URLFile     string // has the URL, if that is a secret
	HeadersFile string // has lines "NAME: VALUE"; "" for none
	CAFile      string // has PEM certificates of its authority; "" for those of the system
	Timeout     time.Duration
	Each        bool     // send each line, and no digests
	Actions     []string // of the verdicts that are sent
}

// Usual returns a receiver with the defaults.
func Usual() Receiver {
	return Receiver{
		Format: JSON, Timeout: 10 * time.Second,
		Actions: []string{string(report.Killed), string(report.KillFailed), string(report.MissedKill), string(report.Refused), string(report.Observed)},
	}
}

// Table declares the settings, as fields of r.
func (r *Receiver) Table() setting.Table {
	file := setting.Syntax{Name: "path"}
	return setting.Table{
		setting.Text("name", &r.Name, setting.Syntax{Name: "name", Check: checkName, Pattern: names}, "Name of the receiver in the log and in metrics."),
		setting.Choice("format", &r.Format, "What is sent: the log line, or what another program reads: [the formats](respond.md#formats).", JSON, CloudEvents, Falcosidekick, Alertmanager),
		setting.Text("url", &r.URL, setting.Syntax{Name: "URL", Check: checkURL, Pattern: "^https?://"}, "Where notifications are sent by HTTP POST."),
		setting.Text("urlFile", &r.URLFile, file, "File with the URL, in place of `url`, if it has a secret. A relative path is relative to the directory of the settings file."),
		setting.Text("headersFile", &r.HeadersFile, file, "File with lines `NAME: VALUE`, such as `Authorization: Bearer TOKEN`, that are sent as headers."),
		setting.Text("caFile", &r.CAFile, file, "File with the PEM certificates of the authority that signed the server's certificate, if it is not one of the system's."),
		setting.Duration("timeout", &r.Timeout, 100*time.Millisecond, time.Minute, "Time for one attempt."),
		setting.Bool("each", &r.Each, "Send a notification for each log line. By default a container has at most one per minute: [Digests](respond.md#digests)."),
		setting.Texts("actions", &r.Actions, setting.Syntax{Name: "actions", Check: checkAction}, "Verdicts that are sent, by their [`action`](logs.md#verdicts)."),
	}
}

// Check returns an error if r has no name, or not exactly one URL.
func (r *Receiver) Check() error {
	switch {
	case r.Name == "":
		return errors.New("name: no name")
	case (r.URL == "") == (r.URLFile == ""):
		return errors.New("give it either url or urlFile")
	}
	return nil
}

// CheckNames returns an error if two receivers have the same name.
func CheckNames(receivers []Receiver) error {
	seen := make(map[string]bool)
	for _, r := range receivers {
		if seen[r.Name] {
			return fmt.Errorf("two receivers are named %q", r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

// In returns r with its files below a directory, if their paths are relative.
func (r Receiver) In(dir string) Receiver {
	for _, file := range []*string{&r.URLFile, &r.HeadersFile, &r.CAFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
	return r
}

func (r Receiver) equal(other Receiver) bool { return reflect.DeepEqual(r, other) }

const names = `^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`

func checkName(name string) error {
	if !regexp.MustCompile(names).MatchString(name) {
		return fmt.Errorf("%q is not a name of up to 63 small letters, digits and -", name)
	}
	return nil
}

func checkAction(action string) error {
	if known := report.Actions(); !slices.Contains(known, report.Action(action)) {
		return fmt.Errorf("%q is not one of %v", action, known)
	}
	return nil
}
