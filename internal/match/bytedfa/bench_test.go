package bytedfa

import (
	"bytes"
	"errors"
	"testing"
)

func BenchmarkCompile(b *testing.B) {
	for _, expr := range []string{
		`/usr/sbin/dnsmasq .*`,
		`.*allowed\s+cryptnono\.banned\.string1`,
		`.*(?:apt|apt-get|dpkg|rpm|dnf|yum|pacman)\s+install\s.*`,
		`.*\p{L}{3}.*`,
		`.*a.{1000}`, // too large
	} {
		b.Run(expr, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := Group([]string{expr}, Limits{DFAs: 1, Each: 4096, MaxStates: 4096})
				if err != nil && !errors.Is(err, ErrTooLarge) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	d := compileOne(b, `.*allowed\s+cryptnono\.banned\.string1`)
	text := bytes.Repeat([]byte("/bin/echo allowed "), 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		d.Match(text)
	}
}
