//go:build !race

package execwhacker

import (
	"fmt"
	"os"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// The second page of the arguments cannot be read.
func TestUnreadableArgumentsAreLeftToUserSpaceIfTheyMayChangeTheVerdict(t *testing.T) {
	t.Parallel()
	testutil.Privileged(t)
	page := os.Getpagesize()
	area, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(area) })
	if err := unix.Mprotect(area[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	bans := []rules.Ban{{Text: "needle", Action: rules.Kill}, {Text: "trial", Action: rules.Observe}}
	tests := []struct {
		name    string
		read    string
		allowed []rules.Pattern
		want    verdict.Outcome
	}{
		{"no ban in what was read", "/p\x00p\x00x", nil, verdict.OutcomeUndecided},
		{"a ban that observes", "/p\x00p\x00trial ", nil, verdict.OutcomeUndecided},
		{"a ban", "/p\x00p\x00needle ", nil, verdict.OutcomeBanned},
		{"a ban in argv[0], which does not end", "/p\x00needle ", nil, verdict.OutcomeBanned},
		{"a ban, and patterns for other programs", "/p\x00p\x00needle ", []rules.Pattern{{Expr: `/q .*`}, {Expr: `/p x.*`}}, verdict.OutcomeBanned},
		{"a ban, and a pattern that may match", "/p\x00p\x00needle ", []rules.Pattern{{Expr: `/q .*`}, {Expr: `.*x`}}, verdict.OutcomeUndecided},
		{"a ban, and a pattern that matches what was read", "/p\x00p\x00needle ", []rules.Pattern{{Expr: `/p.*`}}, verdict.OutcomeUndecided},
		{"a ban in argv[0], and a pattern that matches the path", "/p\x00needle ", []rules.Pattern{{Expr: `/p`}}, verdict.OutcomeUndecided},
	}
	loaded := make(map[string]*kernelMatcher) // by the allowed patterns
	for _, tt := range tests {
		key := fmt.Sprint(tt.allowed)
		if loaded[key] == nil {
			loaded[key] = newKernelMatcher(t, mustCompile(t, rules.Set{Bans: bans, Allowed: tt.allowed}))
		}
		k := loaded[key]
		t.Run(tt.name, func(t *testing.T) {
			text := area[page-len(tt.read)-4000 : page]
			for i := range text {
				text[i] = ' '
			}
			copy(text, tt.read)
			at := uint64(uintptr(unsafe.Pointer(&text[0])))
			ret, err := k.objs.JudgeTexts.Run(&ebpf.RunOptions{
				Context: [5]uint64{at, at + uint64(len("/p\x00")), at + uint64(len(text)+page)},
			})
			if err != nil || verdict.Outcome(ret) != tt.want {
				t.Errorf("got %v, %v, want %v", ret, err, tt.want)
			}
		})
	}
}
