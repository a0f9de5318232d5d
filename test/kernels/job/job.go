// Package job is what the runner of the kernel tests and the first process of its
// guests tell each other: the runner puts a Job into the guest's file system, the
// guest writes Events to its console.
package job

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// File is where the guest finds its Job, as JSON.
const File = "/job.json"

// A Job is what a guest has to do.
type Job struct {
	Env   []string
	Steps []Step
}

// A Step is a program that a guest runs.
type Step struct {
	Name         string
	Args         []string
	LimitSeconds int // after which it is killed
}

// An Event is a thing that happened in a guest.
type Event struct {
	Kind    string  // Begin, End or Done
	Step    string  `json:",omitempty"`
	Status  int     `json:",omitempty"` // exit status; 128 and more for a signal
	Seconds float64 `json:",omitempty"` // since the beginning of the step, or of the guest
	Problem string  `json:",omitempty"` // why a step could not be run
}

// The kinds of events. A guest that does not say Done has crashed.
const (
	Begin = "begin"
	End   = "end"
	Done  = "done"
)

// The console also carries the kernel's messages, so lines that are ours are marked.
const (
	eventMark  = "@event "
	outputMark = "| "
)

// WriteEvent writes an event.
func WriteEvent(w io.Writer, e Event) error {
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%s\n", eventMark, text)
	return err
}

// WriteOutput writes a line, without its newline, that a step has printed.
func WriteOutput(w io.Writer, line string) error {
	_, err := fmt.Fprintf(w, "%s%s\n", outputMark, line)
	return err
}

// ParseLine returns the event or the line of output that a line of the console is,
// or neither.
func ParseLine(line string) (e Event, output string, isEvent, isOutput bool) {
	line = strings.TrimRight(line, "\r\n")
	if text, ok := strings.CutPrefix(line, eventMark); ok && json.Unmarshal([]byte(text), &e) == nil {
		return e, "", true, false
	}
	output, isOutput = strings.CutPrefix(line, outputMark)
	return Event{}, output, false, isOutput
}
