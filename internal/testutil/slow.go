package testutil

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// slowdown is how many times slower than usual this machine is known to be, by
// CRYPTNONO_SLOWDOWN in the environment; 1 by default. An emulated machine is.
func slowdown() int {
	n, err := strconv.Atoi(os.Getenv("CRYPTNONO_SLOWDOWN"))
	if err != nil || n < 1 {
		return 1
	}
	return n
}

// Patience returns the time that something may take on this machine which may
// take d on an ordinary one.
func Patience(d time.Duration) time.Duration { return d * time.Duration(slowdown()) }

// Thorough returns n, of which -short leaves a twentieth: how often, or for how long, to
// repeat what only computes.
func Thorough(n int) int {
	if testing.Short() {
		return max(n/20, 1)
	}
	return n
}

// Rounds returns how often to repeat on this machine what is repeated n times on
// an ordinary one, at least once.
func Rounds(t testing.TB, n int) int {
	t.Helper()
	rounds := max(n/slowdown(), 1)
	if rounds < n {
		t.Logf("%d rounds instead of %d: CRYPTNONO_SLOWDOWN is set", rounds, n)
	}
	return rounds
}
