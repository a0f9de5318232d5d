package execwhacker

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// An execCase is a program file and how it is executed.
type execCase struct {
	file string   // name of the program file
	link string   // name of a link to it that is executed instead, "" for none
	dir  string   // a parent directory, "" for none
	len  int      // of the path, which is padded with "/" before dir
	tail int      // number of "/" after dir
	args []string // from argv[0] on; nil for the path only
}

// path creates the files of a case and returns the path to execute.
func (c execCase) path(t *testing.T, root, program string) string {
	t.Helper()
	dir := filepath.Join(root, c.dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := c.file
	if err := os.Link(program, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	if c.link != "" {
		name = c.link
		if err := os.Symlink(c.file, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	end := strings.Repeat("/", 1+c.tail) + name
	if c.dir != "" {
		end = "/" + c.dir + end
	}
	return root + strings.Repeat("/", max(c.len-len(root)-len(end), 0)) + end
}

// The result of each exec is compared with the matcher in Go, for lengths around those that the
// kernel program reads at once.
func TestTheKernelJudgesPathsAndNamesOfEveryLength(t *testing.T) {
	const word, glued, program, across = "pathtestword", "pathtestglued://", "pathtestprogram", "pathtest.end -o pathtestpool"
	long := strings.Repeat("n", 246) + program[:9] // 255 bytes
	names := []string{program, "q", "pathtes", "pathtest", "pathtestx", "pathtestprograms", "pathtestprogramme", long}
	set := rules.Set{Allowed: []rules.Pattern{{Expr: `.*/pathtestfine good`}, {Expr: `(?s)/+.*/pathtest.end ok.*`}}}
	for _, name := range names {
		set.Bans = append(set.Bans, rules.Ban{Kind: rules.Program, Text: name, Action: rules.Kill})
	}
	for _, b := range []rules.Ban{{Kind: rules.Word, Text: word}, {Kind: rules.Substring, Text: glued}, {Kind: rules.Word, Text: across}} {
		b.Action = rules.Kill
		set.Bans = append(set.Bans, b)
	}
	_, m := loadSet(t, set)
	root := t.TempDir()
	text, err := os.ReadFile(testutil.BuildC(t, "test/victims/hello.c"))
	if err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(root, "victim")
	if err := os.WriteFile(victim, text, 0o755); err != nil {
		t.Fatal(err)
	}
	lengths := []int{0, 120, 253, 254, 255, 256, 257, 2046, 2047, 2048, 2049, 2050, 4093, 4094, 4095}
	var cases []execCase
	for _, n := range lengths {
		for tail := range 16 {
			cases = append(cases,
				execCase{file: "hello", dir: word, len: n, tail: tail},
				execCase{file: "hello", dir: "x" + word, len: n, tail: tail},
				execCase{file: "hello", dir: word + "_", len: n, tail: tail})
		}
		for _, args := range [][]string{nil, {"x"}, {""}, {"x", "-o", "pathtestpool"}, {"x", "-o", "pathtestpoolx"}, {"x", "ok", word}, {"x", "no", word}, {"x", "y", "ok", word}} {
			cases = append(cases, execCase{file: "pathtest.end", len: n, args: args})
		}
		cases = append(cases,
			execCase{file: "pathtestfine", len: n, args: []string{word, "good"}},
			execCase{file: "pathtestfine", len: n, args: []string{word, "goods"}},
			execCase{file: "hello", len: n, args: []string{"x pathtestgl", "ued://"}},
			execCase{file: "pathtestgl", len: n, args: []string{"pathtestgl", "ued://"}},
			execCase{file: program, len: n}, execCase{file: program + "x", len: n}, execCase{file: "x" + program, len: n})
		for _, name := range names {
			others := []string{"x" + name, name + "x", "x" + name[1:], name[:len(name)-1] + "y", name[1:], name[:len(name)-1], name}
			if len(name) > 9 {
				others = append(others, name[:7]+"y"+name[8:], name[:8]+"y"+name[9:])
			}
			for _, other := range others {
				if other == "" || len(other) > 255 || other == name {
					continue
				}
				cases = append(cases, execCase{file: name, link: other, len: n}, execCase{file: other, link: name, len: n})
			}
			cases = append(cases, execCase{file: name, len: n})
		}
	}
	outcomes := make(map[match.Outcome]int)
	few := len(cases) / testutil.Rounds(t, len(cases))
	rnd := rand.New(rand.NewPCG(1, 2))
	for i, c := range cases {
		if rnd.IntN(few) != 0 {
			continue
		}
		path := c.path(t, filepath.Join(root, fmt.Sprint(i)), victim)
		if len(path) > 4095 {
			continue
		}
		cmd := &exec.Cmd{Path: path, Args: c.args}
		if c.args == nil {
			cmd.Args = []string{path}
		}
		var out bytes.Buffer
		cmd.Stdout = &out
		err := cmd.Run()
		name := ""
		if c.link != "" {
			name = c.file
		}
		v := m.JudgeCommand(match.Command{Path: []byte(path), Name: []byte(name), Area: match.Area(cmd.Args)})
		outcomes[v.Outcome]++
		killed := err != nil && cmd.ProcessState != nil && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != (v.Outcome == match.Banned) || killed && out.Len() > 0 || !killed && err != nil {
			t.Errorf("%+v, a path of %d bytes: %v, want by the matcher in Go %v %v", c, len(path), err, v.Outcome, v.Ban)
		}
	}
	for _, o := range []match.Outcome{match.NoMatch, match.Allowed, match.Banned} {
		if outcomes[o] == 0 {
			t.Errorf("no case had outcome %v", o)
		}
	}
}
