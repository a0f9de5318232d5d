// Package commands reads command lines from a file, one per line, in the forms that logs and
// people have them: docs/cli.md defines these.
package commands

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/printable"
	"github.com/cryptnono/cryptnono/internal/secrets"
)

// A Command is a program and its arguments, as match.Matcher.Judge wants them.
type Command struct {
	Path []byte
	Area []byte
	// Incomplete means that a part was cut or hidden when the line was written.
	Incomplete bool
}

// ErrNone is the error for a line that rightly has no command: an empty one, and a line of the
// agent's log about something else.
var ErrNone = errors.New("no command")

// MaxLine is the maximum length of a line in bytes. It is above the kernel's limit for arguments.
const MaxLine = 8 << 20

// Read calls visit for each line of r in order, with its number from 1 and its command, or the
// error of Parse or about the length. A line of any length takes at most MaxLine bytes. Read
// returns the error of r or of visit.
func Read(r io.Reader, visit func(number int, c Command, err error) error) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for number := 1; ; number++ {
		line = line[:0]
		length := 0
		for {
			part, err := in.ReadSlice('\n')
			length += len(part)
			if len(line) <= MaxLine {
				line = append(line, part...)
			}
			if err == nil {
				break
			}
			if errors.Is(err, io.EOF) {
				if length == 0 {
					return nil
				}
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return err
			}
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		var c Command
		err := fmt.Errorf("the line has more than %d MiB", MaxLine>>20)
		if len(line) <= MaxLine {
			c, err = Parse(line)
		}
		if err := visit(number, c, err); err != nil {
			return err
		}
	}
}

// Parse returns the command of a line. The command may share memory with the line.
func Parse(line []byte) (Command, error) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return Command{}, ErrNone
	}
	switch rest := bytes.TrimSpace(line[1:]); {
	case line[0] == '{':
		return parseObject(line)
	case line[0] == '[' && len(rest) > 0 && (rest[0] == '"' || rest[0] == ']'):
		var argv []*string
		if err := decode(line, &argv); err != nil {
			return Command{}, err
		}
		return ofArguments("", argv)
	}
	return parsePlain(line)
}

// parsePlain parses a command as people write it, or as in /proc/PID/cmdline. The first space or
// NUL ends the program; where other arguments end matters only to a shell's text.
func parsePlain(line []byte) (Command, error) {
	area := slices.Clone(line)
	ends := " \t"
	if bytes.IndexByte(area, 0) >= 0 {
		ends = "\x00"
	}
	end := bytes.IndexAny(area, ends)
	if end < 0 {
		return Command{Path: area, Area: area}, nil
	}
	if end == 0 {
		return Command{}, errNoProgram
	}
	area[end] = 0
	c := Command{Path: area[:end], Area: area}
	if ends != "\x00" {
		c.Area = match.SplitShell(c.Path, area)
	}
	return c, nil
}

var errNoProgram = errors.New("the name of the program is empty")

// object has the keys of a line of the agent's log, and argv.
type object struct {
	Msg       json.RawMessage
	Program   *string
	Cmdline   *string
	Rewritten bool // the rules did not see the arguments
	Argv      *[]*string
}

// decode decodes JSON.
func decode(line []byte, to any) error {
	err := json.Unmarshal(line, to)
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: a %s is not what a command has there", cmp.Or(strings.ToLower(t.Field), "argv"), t.Value)
	}
	if err != nil {
		return fmt.Errorf("not valid JSON: %w", err)
	}
	return nil
}

func parseObject(line []byte) (Command, error) {
	var o object
	if err := decode(line, &o); err != nil {
		return Command{}, err
	}
	switch {
	case o.Argv != nil:
		program := ""
		if o.Program != nil {
			program = *o.Program
		}
		return ofArguments(program, *o.Argv)
	case o.Cmdline != nil:
		return ofLog(o)
	case o.Msg != nil:
		return Command{}, ErrNone
	}
	return Command{}, errors.New("a JSON object without argv or cmdline")
}

// ofArguments returns the command of arguments. Its path is program or, if that is empty, argv[0].
func ofArguments(program string, argv []*string) (Command, error) {
	var area []byte
	for i, a := range argv {
		switch {
		case a == nil:
			return Command{}, fmt.Errorf("argv[%d] is null", i)
		case strings.IndexByte(*a, 0) >= 0:
			return Command{}, fmt.Errorf("argv[%d] contains a NUL", i)
		}
		area = append(append(area, *a...), 0)
	}
	if len(argv) > 0 && program == "" {
		program = *argv[0]
	}
	switch {
	case program == "":
		return Command{}, errNoProgram
	case strings.IndexByte(program, 0) >= 0:
		return Command{}, errors.New("program contains a NUL")
	}
	return Command{Path: []byte(program), Area: area}, nil
}

// ofLog returns the command of a line of the agent's log.
func ofLog(o object) (Command, error) {
	area, cut, err := printable.ParseArgs(*o.Cmdline)
	if err != nil {
		return Command{}, fmt.Errorf("cmdline: %w", err)
	}
	path, _, _ := bytes.Cut(area, []byte{0})
	pathCut := false
	if o.Program != nil {
		if path, pathCut, err = printable.Parse(*o.Program); err != nil {
			return Command{}, fmt.Errorf("program: %w", err)
		}
	}
	if o.Rewritten {
		return Command{Path: path, Incomplete: pathCut}, nil
	}
	return Command{path, match.SplitShell(path, area), cut || pathCut || bytes.Contains(area, []byte(secrets.Hidden))}, nil
}
