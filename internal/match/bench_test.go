package match

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cryptnono/cryptnono/internal/rules"
)

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{1000, 50_000, 200_000} {
		b.Run(fmt.Sprintf("strings=%d", n), func(b *testing.B) {
			set := manyBans(n)
			for b.Loop() {
				m := compile(b, set)
				b.ReportMetric(float64(len(m.Cells)), "cells")
			}
		})
	}
}

// With the parsing of their files, this is most of the agent's start.
func BenchmarkCompileBuiltin(b *testing.B) {
	set := rules.Builtin()
	b.ReportAllocs()
	for b.Loop() {
		compile(b, set)
	}
}

// manyBans returns n ban strings of 8 to 37 bytes, like pool domains and
// wallet addresses.
func manyBans(n int) rules.Set {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789.-"
	rnd := rand.New(rand.NewPCG(1, 2))
	var set rules.Set
	for range n {
		text := make([]byte, 8+rnd.IntN(30))
		for i := range text {
			text[i] = letters[rnd.IntN(len(letters))]
		}
		set.Bans = append(set.Bans, rules.Ban{Text: string(text), Action: rules.Kill})
	}
	return set
}
