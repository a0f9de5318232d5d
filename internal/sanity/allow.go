package sanity

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/match/bytedfa"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// allowPatterns reports patterns that match every command line, or programs in
// directories where any user can put one.
func (f *findings) allowPatterns(m *match.Matcher) {
	builtin := rules.Builtin().Allowed // checked by the tests of package rules
	for _, p := range m.Set.Allowed {
		if slices.Contains(builtin, p) {
			continue
		}
		source, _, err := bytedfa.Whole(p.Expr)
		if err != nil {
			f.refuse(p.Origin.Place(), "%v", err)
			continue
		}
		re := regexp.MustCompile(source)
		all := true
		for _, line := range miners() {
			all = all && re.MatchString(line)
		}
		switch directory := wholeDirectory(re); {
		case all:
			f.refuse(p.Origin.Place(), "%q allows every command line: begin it with the path of a program", short(p.Expr))
		case strings.HasPrefix(p.Expr, "/tmp/"):
			f.warn(p.Origin.Place(), "%q allows a program in /tmp, where users can put a miner", short(p.Expr))
		case mayBegin(re.String(), "/tmp/"):
			f.warn(p.Origin.Place(), "%q also allows programs in /tmp and in any other directory, where users can put a miner: "+
				"begin it with the full path of the program", short(p.Expr))
		case directory != "":
			f.warn(p.Origin.Place(), "%q allows every program in %s, with interpreters that can run a miner: write the name of the program", short(p.Expr), directory)
		case !mayBegin(re.String(), "/"):
			f.warn(p.Origin.Place(), "%q matches no program with a full path, as programs in PATH have: begin it with that of the program", short(p.Expr))
		}
	}
}

// wholeDirectory returns a directory of programs all of which an allow pattern allows, "" for none.
func wholeDirectory(re *regexp.Regexp) string {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/opt/conda/bin"} {
		if re.MatchString(dir+"/python3 /srv/m.py") && re.MatchString(dir+"/qjxz -o x") {
			return dir
		}
	}
	return ""
}

// miners returns different command lines. A pattern that matches all of them is taken to
// match every command line. They have no words of miners, so that the program has none.
func miners() []string {
	return []string{
		"/tmp/.x/kworker -o tcp+tls://one.example.org:3333 -u 4A1b -p x",
		"/home/jovyan/m --url=one.example.org:443 --tls --level 1",
		"/usr/bin/python3 /srv/m.py",
		"/dev/fd/3",
	}
}

// mayBegin reports whether a regular expression, anchored at both ends, can match a text
// that begins with prefix. It can report true for one that cannot, but never the reverse.
func mayBegin(expr, prefix string) bool {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return true
	}
	prog, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return true
	}
	var now []uint32
	seen := make(map[uint32]bool)
	var follow func(pc uint32, begin bool)
	follow = func(pc uint32, begin bool) {
		if seen[pc] {
			return
		}
		seen[pc] = true
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			follow(inst.Out, begin)
			follow(inst.Arg, begin)
		case syntax.InstCapture, syntax.InstNop:
			follow(inst.Out, begin)
		case syntax.InstEmptyWidth:
			empty := syntax.EmptyOp(inst.Arg)
			if empty&syntax.EmptyEndText == 0 && (begin || empty&syntax.EmptyBeginText == 0) {
				follow(inst.Out, begin)
			}
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			now = append(now, pc)
		}
	}
	follow(uint32(prog.Start), true)
	for _, r := range prefix {
		before := now
		now = nil
		clear(seen)
		for _, pc := range before {
			if inst := &prog.Inst[pc]; inst.MatchRune(r) {
				follow(inst.Out, false)
			}
		}
	}
	return len(now) > 0
}
