package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/config"
	known "github.com/cryptnono/cryptnono/internal/detectors"
	"github.com/cryptnono/cryptnono/internal/rules"
)

func TestTheLogHasTheActionsInForceAndAllKindsOfRules(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	ruleFile := write("rules.yaml", "bannedAddresses: [192.0.2.1, 192.0.2.2]\nbannedNames: [a.example, b.example, c.example]\nbannedCommandStrings: [example]\n")
	for settings, want := range map[string]string{
		"{}": "action kill bans 1 banned_addresses 2 banned_names 3 allow_patterns 0",
		"monero: {action: observe}\ntcpflowkiller: {action: refuse}": "action kill detector_actions map[monero:observe tcpflowkiller:refuse] " +
			"bans 1 banned_addresses 2 banned_names 3 allow_patterns 0",
		"monero: {enabled: false, action: observe}":        "action kill bans 1 banned_addresses 2 banned_names 3 allow_patterns 0",
		"action: observe\ntcpflowkiller: {action: refuse}": "action observe bans 1 banned_addresses 2 banned_names 3 allow_patterns 0",
	} {
		c, err := config.Load(write("settings.yaml", settings), known.All())
		if err != nil {
			t.Fatal(err)
		}
		c.Rules = []string{ruleFile}
		c.BuiltinRules.SwitchAll(false)
		p, err := Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		d := newDetectors(known.All(), &shared{})
		for _, name := range c.Enabled() {
			d.enabled[name] = &enabled{}
		}
		attrs := policyAttrs(newReloader(&Agent{Policy: p}, d), &p, time.Now())
		began := slices.Index(attrs, any("action"))
		if got := fmt.Sprint(attrs[began : len(attrs)-4]); got != "["+want+"]" {
			t.Errorf("%s: %s, want %s", settings, got, want)
		}
	}
}

// What is only logged because the operator wants that is no likely sign.
func TestTheActionObserveLeavesNoLikelySigns(t *testing.T) {
	for action, want := range map[rules.Action]bool{rules.Kill: true, rules.Observe: false} {
		c := config.Default(known.All())
		c.Action = action
		p, err := Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(p.Matcher.Set.Bans, func(b rules.Ban) bool { return b.Likely }); got != want {
			t.Errorf("%s: %v", action, got)
		}
	}
}

// A change of the files during Read, or after it, must change their version.
func TestAChangeOfTheFilesDuringReadIsDetected(t *testing.T) {
	for name, c := range map[string]struct {
		change string // the file that is written during Read, or after it
		same   bool
	}{
		"nothing changes":      {"", true},
		"the settings change":  {"settings.yaml", false},
		"a rule file changes":  {"rules.yaml", false},
		"a rule file is added": {"more.yaml", false},
	} {
		dir := t.TempDir()
		write := func(file, text string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("settings.yaml", "{}")
		write("rules.yaml", "bannedCommandStrings: [example]\n")
		files := []string{filepath.Join(dir, "settings.yaml")}
		p, err := Read(files, func() (config.Config, error) {
			c1 := config.Default(nil)
			c1.Rules = []string{dir}
			if c.change == "settings.yaml" {
				write(c.change, "{} # changed")
			}
			return c1, nil
		}, Compile)
		if err != nil && name != "the settings change" {
			t.Fatal(err)
		}
		if c.change != "" && c.change != "settings.yaml" {
			write(c.change, "bannedCommandStrings: [example, other]\n")
		}
		if now := versionOf(append(files, dir)); (now == p.version) != c.same {
			t.Errorf("%s: same version is %v", name, now == p.version)
		}
	}
}
