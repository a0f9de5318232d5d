// Package attacks makes attempts on the running agent: to evade it, to disable it, to exhaust its
// resources, or to make it kill legitimate programs. Each attempt is a row with an id that
// docs/attacks.md lists.
//
//	go test ./test/attacks -v                                  # all of them
//	go test ./test/attacks -v -run 'TestAttacks/exec/A20'      # one
//	SOAK=1 go test -timeout 2h ./test/attacks -v               # with the full numbers
package attacks

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

func TestMain(m *testing.M) { os.Exit(agenttest.Main(m)) }

// A row is one attempt.
type row struct {
	id       string
	what     string // the attempt
	expected string
	// run makes the attempt. It returns the result, and whether that is as expected.
	run func(t *testing.T) (seen string, ok bool)
}

// A kind is a group of rows, which may share an agent.
type kind struct {
	name string
	rows func(t *testing.T, b *bed) []row
	// parallel is true if the rows may run in parallel with other such kinds, because they
	// mostly wait and measure nothing.
	parallel bool
}

// kinds returns all kinds, in the order of the table.
func kinds() []kind {
	return []kind{
		{"exec", execRows, true},
		{"undecided", undecidedRows, true},
		{"older", olderRows, true},
		{"cgroups", cgroupRows, false},
		{"reloads", reloadRows, false},
		{"honest", honestRows, true},
		{"servers", serverRows, true},
		{"hang", hangRows, true},
		{"monero", moneroRows, true},
		{"clients", clientRows, false},
		{"shares", shareRows, false},
		{"life", lifeRows, true},
		{"log", logRows, false},
		{"settings", settingsRows, true},
	}
}

// An outcome is the result of a row.
type outcome struct {
	row
	seen string
	ok   bool
}

func TestAttacks(t *testing.T) {
	testutil.Privileged(t)
	b := newBed(t)
	outcomes := make([][]outcome, len(kinds())) // by kind
	t.Cleanup(func() { t.Log("summary:\n" + table(outcomes)) })
	for i, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			if k.parallel {
				t.Parallel()
			}
			for _, r := range k.rows(t, b) {
				t.Run(r.id, func(t *testing.T) {
					o := outcome{row: r, seen: "not completed"}
					began := time.Now()
					defer func() {
						outcomes[i] = append(outcomes[i], o)
						t.Logf("%s: %s; expected: %s; seen: %s (in %.1f s)", o.id, o.what, o.expected, o.seen, time.Since(began).Seconds())
					}()
					if o.seen, o.ok = r.run(t); !o.ok {
						t.Error("does not hold")
					}
				})
			}
		})
	}
}

// table returns a line for each outcome and the totals.
func table(outcomes [][]outcome) string {
	var text strings.Builder
	all, held := 0, 0
	for i, k := range kinds() {
		if len(outcomes[i]) > 0 {
			fmt.Fprintf(&text, "%s\n", k.name)
		}
		for _, o := range outcomes[i] {
			all++
			result := "FAILS"
			if o.ok {
				result = "holds"
				held++
			}
			fmt.Fprintf(&text, "  %-8s %s  %s | expected: %s | seen: %s\n", o.id, result, o.what, o.expected, o.seen)
		}
	}
	fmt.Fprintf(&text, "%d rows, %d hold\n", all, held)
	return text.String()
}
