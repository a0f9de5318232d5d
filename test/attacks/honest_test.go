package attacks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

// An honest is a legitimate program that is allowed, exempt or not banned, in a situation in which a
// scan might misjudge it.
type honest struct {
	id, what string
	cmd      *exec.Cmd
	after    func() error // called when it runs, if not nil
	// onlyYounger excludes it from the test with an older program: the reason why it is not
	// killed cannot be determined then.
	onlyYounger bool
	allow       string // an allow pattern for it
	exempt      string // an exempt program
}

// honestRows are legitimate programs that must not be killed by a scan or after a reload, whether
// they are younger or older than the agent.
func honestRows(t *testing.T, b *bed) []row {
	var rows []row
	for _, older := range []bool{false, true} {
		rows = append(rows, runAll(t, b, older)...)
	}
	return rows
}

// runAll runs all legitimate programs under one agent, and returns a row for each.
func runAll(t *testing.T, b *bed, older bool) []row {
	t.Helper()
	word := agenttest.NewWord()
	all := honestPrograms(t, b, word)
	var kept []honest
	rules := agenttest.Rules{Strings: []string{word}}
	var exempt []string
	for _, h := range all {
		if older && h.onlyYounger {
			continue
		}
		kept = append(kept, h)
		if h.allow != "" {
			rules.Allowed = append(rules.Allowed, h.allow)
		}
		if h.exempt != "" {
			exempt = append(exempt, h.exempt)
		}
	}
	var a *agenttest.Agent
	protect := func() {
		a = agenttest.Start(t, agenttest.Options{Rules: rules, Settings: map[string]any{
			"scanInterval": "1s",
			"exemptions":   map[string]any{"programs": exempt},
		}})
	}
	var c crowd
	begin := func() {
		for _, h := range kept {
			c.start(t, h.cmd)
		}
		for i, h := range kept {
			agenttest.Within(soon(), func() bool { return c.output(i) != "" || c.groups[i].Dead(time.Millisecond) })
			if h.after != nil {
				if err := h.after(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if older {
		begin()
		protect()
	} else {
		protect()
		begin()
	}
	fates := make([][]string, len(kept))
	checkAlive := func(when string) {
		time.Sleep(2500 * time.Millisecond) // for two scans
		for i := range kept {
			if c.groups[i].Dead(time.Millisecond) && len(fates[i]) == 0 {
				fates[i] = append(fates[i], "dead "+when)
			}
		}
	}
	checkAlive("by the exec or a scan")
	rules.Strings = append(rules.Strings, agenttest.NewWord())
	writeRules(t, a, rules)
	a.Reload(t)
	checkAlive("after a reload")

	var rows []row
	for i, h := range kept {
		seen := "lives"
		if len(fates[i]) > 0 {
			seen = fates[i][0]
			if printed := c.output(i); printed == "" {
				seen += ", had not run"
			}
		}
		id, what := h.id, h.what
		if older {
			id, what = id+"-older", what+", older than the agent"
		}
		rows = append(rows, row{id, what, "lives, after reloads too", func(*testing.T) (string, bool) { return seen, seen == "lives" }})
	}
	for _, group := range c.groups {
		group.Kill()
	}
	return rows
}

// honestPrograms returns the programs, with the patterns and exemptions that they need. Each one
// prints something when it runs.
func honestPrograms(t *testing.T, b *bed, word string) []honest {
	t.Helper()
	act := b.victim(t, "act", "-static")
	stay := func(program string, args ...string) *exec.Cmd { return acting(exec.Command(program, args...), "stay") }
	program := func(name string) string { return agenttest.CopyFile(t, act, filepath.Join(b.folder(t), name)) }
	link := func(to, name string) string {
		link := filepath.Join(b.folder(t), name)
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		return link
	}
	replace := func(file string) func() error {
		next := agenttest.CopyFile(t, act, file+".new")
		return func() error { return os.Rename(next, file) }
	}
	replaced, deleted := program("tool"), program("tool")
	script := agenttest.WriteProgram(t, filepath.Join(b.folder(t), "script"), "#!/bin/sh\necho ran\nwhile sleep 1000; do :; done\n")
	sbin := filepath.Join(link(filepath.Dir(program("tool")), "sbin"), "tool")
	alternative := link(link(program("vim.tiny"), "alternative"), "editor")
	applet := link(installed(t, "busybox"), "tail")
	followed := agenttest.WriteProgram(t, filepath.Join(b.folder(t), word), "ran\n")
	relative := exec.Command("./relative", word)
	relative.Dir = filepath.Dir(program("relative"))
	dynamic := b.victim(t, "act")
	byDescriptor := acting(exec.Command(b.victim(t, "execveat"), act, "", "act", word), "stay")
	exemptLink := link(program("daemon"), "daemon")
	upgraded, restarted := program("daemon"), program("daemon")
	renew := replace(restarted)

	list := []honest{
		{id: "B04", what: "an allowed program, its file replaced", cmd: stay(replaced, word), after: replace(replaced), allow: replaced + ` .*`},
		{id: "B04b", what: "an allowed program, its file deleted", cmd: stay(deleted, word), after: func() error { return os.Remove(deleted) }, allow: deleted + ` .*`},
		{id: "B05,F1", what: "an allowed script", cmd: exec.Command(script, word), allow: script + ` .*`},
		{id: "B06", what: "an allowed program below a directory that is a link", cmd: stay(sbin, word), allow: sbin + ` .*`, onlyYounger: true},
		{id: "B06b", what: "an allowed program by alternatives", cmd: stay(alternative, word), allow: alternative + ` .*`, onlyYounger: true},
		{id: "B06c", what: "an allowed applet of busybox", cmd: exec.Command(applet, "-f", followed), allow: applet + ` .*`, onlyYounger: true},
		{id: "B06d", what: "an allowed program by a relative path", cmd: acting(relative, "stay"), allow: `\./relative .*`, onlyYounger: true},
		{id: "B06e", what: "an allowed program through the dynamic loader", cmd: stay(loader(t), dynamic, word), allow: loader(t) + ` .*`, onlyYounger: true},
		{id: "B06f", what: "an allowed program by a descriptor", cmd: byDescriptor, allow: `(\S*/execveat|/dev/fd/\d+) .*`, onlyYounger: true},
		{id: "B07", what: "an exempt program by a link", cmd: stay(exemptLink, word), exempt: exemptLink},
		{id: "B08", what: "an exempt program, its file replaced by an upgrade", cmd: stay(upgraded, word), after: replace(upgraded), exempt: upgraded},
		{id: "B08b", what: "an exempt program, replaced by an upgrade and started again at once", exempt: restarted,
			cmd: stay("/bin/sh", "-c", `echo waits; while ! [ -e "$0.go" ]; do sleep 0.01; done; exec "$0" "$(cat "$0.go")"`, restarted),
			after: func() error {
				return errors.Join(renew(), os.WriteFile(restarted+".tmp", []byte(word), 0o644), os.Rename(restarted+".tmp", restarted+".go"))
			}},
	}
	room := strings.Repeat("x", 200) // space for the title
	for name, title := range map[string]string{
		"sshd":    "sshd: " + word + " [net]",
		"nginx":   "nginx: worker process " + word,
		"dovecot": "dovecot/imap-login [" + word + " TLS proxy]",
		"vsftpd":  "vsftpd: 10.0.0.7/ftp: RETR " + word,
	} {
		cmd := acting(exec.Command(program(name), room), "title "+title)
		list = append(list, honest{id: "B01-" + name, what: fmt.Sprintf("a program that shows a client's name in its title, as %s does", name), cmd: cmd})
	}
	return list
}
