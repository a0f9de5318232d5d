// Package acceptance tests the program as users run it: on the kernel of this machine, with rule
// files, real processes, its log and its metrics page.
//
// Each test bans words that no other process has in its arguments, so that it does not kill other
// programs; only the self-test uses the built-in rules. The machine may be busy.
package acceptance

import (
	"os"
	"testing"

	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// start starts an agent with rules and flags.
func start(t *testing.T, rules agenttest.Rules, flags ...string) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{Rules: rules, Flags: flags})
}

// startWith starts an agent with rules and settings.
func startWith(t *testing.T, rules agenttest.Rules, settings map[string]any) *agenttest.Agent {
	t.Helper()
	return agenttest.Start(t, agenttest.Options{Rules: rules, Settings: settings})
}

// get sends an HTTP request and returns the response.
func get(t *testing.T, a *agenttest.Agent, path string) (status int, body string) {
	t.Helper()
	status, body, err := a.Get(path, agenttest.Patience())
	if err != nil {
		t.Fatal(err)
	}
	return status, body
}
