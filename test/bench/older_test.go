package main

import (
	"regexp"
	"testing"
)

func TestTheOlderRuleIsThatOfItsDocuments(t *testing.T) {
	r := olderRule{bans: []string{"badpool"}, allowed: []*regexp.Regexp{regexp.MustCompile(`(/usr/bin/)?grep `)}}
	for cmdline, want := range map[string]bool{
		"python3 -o badpool":          true,
		"python3 -o BadPool:3333":     true,
		"python3 -o pool":             false,
		"python3 -o badpools":         false,
		"python3 badpools -o badpool": false, // one inside of a word spares the other
		"/usr/bin/grep badpool":       false,
		"/usr/bin/grep x | ./badpool": false, // matched from the beginning, not to the end
		"xmrig /usr/bin/grep badpool": true,
		"":                            false,
	} {
		if got := r.kills(cmdline); got != want {
			t.Errorf("%q: got %v", cmdline, got)
		}
	}
}

func TestALineOfExecsnoopHasPidAndArguments(t *testing.T) {
	for line, want := range map[string]struct {
		pid  int
		args string
	}{
		"echo             14706  14646    0 /bin/echo a b ":       {14706, "/bin/echo a b "},
		"Web Content      4194303 14646    0 /usr/bin/firefox -x": {4194303, "/usr/bin/firefox -x"},
		"PCOMM            PID    PPID   RET ARGS":                 {},
		"short": {},
	} {
		if pid, args := parseExecsnoop(line); pid != want.pid || args != want.args {
			t.Errorf("%q: got %d, %q", line, pid, args)
		}
	}
}
