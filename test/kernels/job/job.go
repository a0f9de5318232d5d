// Package job is the protocol between the runner of the kernel tests and the first process of a
// guest: the runner puts a Job into the guest's file system, and the guest writes Events to its
// console.
package job

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// File is the path of the Job in the guest, in JSON.
const File = "/job.json"

// A Job has the steps that a guest runs.
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

// An Event is an event in a guest.
type Event struct {
	Kind    string  // Begin, End or Done
	Step    string  `json:",omitempty"`
	Status  int     `json:",omitempty"` // exit status; 128 and more for a signal
	Seconds float64 `json:",omitempty"` // since the start of the step, or of the guest
	Problem string  `json:",omitempty"` // why a step could not run
}

// The kinds of events. A guest without the event Done has crashed.
const (
	Begin = "begin"
	End   = "end"
	Done  = "done"
)

// The console also has the kernel's messages, so the lines of this protocol are marked.
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

// WriteOutput writes a line of a step's output, given without its newline.
func WriteOutput(w io.Writer, line string) error {
	_, err := fmt.Fprintf(w, "%s%s\n", outputMark, line)
	return err
}

// ParseLine parses a line of the console as an event or a line of output; it may be neither.
func ParseLine(line string) (e Event, output string, isEvent, isOutput bool) {
	line = strings.TrimRight(line, "\r\n")
	if text, ok := strings.CutPrefix(line, eventMark); ok && json.Unmarshal([]byte(text), &e) == nil {
		return e, "", true, false
	}
	output, isOutput = strings.CutPrefix(line, outputMark)
	return Event{}, output, false, isOutput
}
