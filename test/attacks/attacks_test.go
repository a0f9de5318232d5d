// Package attacks tries against the running agent what somebody might try who wants
// to mine in spite of it, to blind or end it, or to have it kill the innocent. Each
// attempt is a row with an id, which docs/attacks.md explains.
//
//	go test ./test/attacks -v                                  # all of them
//	go test ./test/attacks -v -run 'TestAttacks/exec/A01'      # one
//	SOAK=1 go test -timeout 2h ./test/attacks -v               # with the full numbers
package attacks

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/agenttest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// A row is one attempt.
type row struct {
	id       string
	what     string // is tried
	expected string
	// run tries it, and says what was seen, and whether that is as expected.
	run func(t *testing.T) (seen string, ok bool)
}

// A kind is a group of rows, which may share an agent.
type kind struct {
	name string
	rows func(t *testing.T, b *bed) []row
}

// An outcome is what became of a row.
type outcome struct {
	kind string
	row
	seen string
	ok   bool
}

func TestAttacks(t *testing.T) {
	testutil.Privileged(t)
	b := newBed(t)
	var outcomes []outcome
	defer func() { t.Log("summary:\n" + table(outcomes)) }()
	for _, k := range []kind{
		{"exec", execRows},
		{"undecided", undecidedRows},
		{"older", olderRows},
		{"cgroups", cgroupRows},
		{"reloads", reloadRows},
		{"honest", honestRows},
		{"servers", serverRows},
		{"hang", hangRows},
		{"monero", moneroRows},
		{"clients", clientRows},
		{"shares", shareRows},
		{"life", lifeRows},
		{"log", logRows},
		{"settings", settingsRows},
	} {
		t.Run(k.name, func(t *testing.T) {
			for _, r := range k.rows(t, b) {
				t.Run(r.id, func(t *testing.T) {
					o := outcome{kind: k.name, row: r, seen: "not tried to its end"}
					defer func() {
						outcomes = append(outcomes, o)
						t.Logf("%s: %s; expected: %s; seen: %s", o.id, o.what, o.expected, o.seen)
					}()
					if o.seen, o.ok = r.run(t); !o.ok {
						t.Error("does not hold")
					}
				})
			}
		})
	}
}

// table returns the outcomes as lines, one for each row, and their sum.
func table(outcomes []outcome) string {
	var text strings.Builder
	held := 0
	for i, o := range outcomes {
		if i == 0 || outcomes[i-1].kind != o.kind {
			fmt.Fprintf(&text, "%s\n", o.kind)
		}
		result := "FAILS"
		if o.ok {
			result = "holds"
			held++
		}
		fmt.Fprintf(&text, "  %-5s %-5s %s | expected: %s | seen: %s\n", o.id, result, o.what, o.expected, o.seen)
	}
	fmt.Fprintf(&text, "%d rows, %d hold\n", len(outcomes), held)
	return text.String()
}
