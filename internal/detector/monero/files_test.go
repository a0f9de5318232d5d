package monero

import (
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

func TestCodeInAFileThatKeepsChangingIsJITCode(t *testing.T) {
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		file func(i int) version
		jit  bool
	}{
		"a program":                    {func(int) version { return version{1, began.Add(-time.Hour)} }, false},
		"one of the future":            {func(int) version { return version{1, began.Add(time.Hour)} }, false},
		"a library built a moment ago": {func(int) version { return version{1, began.Add(time.Second)} }, false},
		"a library that an upgrade removed": {func(i int) version {
			return version{1, began.Add(time.Duration(i/50) * time.Minute)}
		}, false},
		"many libraries, all built just now": {func(i int) version { return version{uint64(1 + i%30), began.Add(time.Second)} }, false},
		"a hundred old libraries":            {func(i int) version { return version{uint64(1 + i%100), began.Add(-time.Second)} }, false},
		"no file: the kernel's code":         {func(int) version { return version{} }, false},
		"a file written again at each round": {func(i int) version { return version{1, began.Add(time.Duration(i) * time.Millisecond)} }, true},
		"the same, in the clock's past":      {func(i int) version { return version{1, began.Add(time.Duration(i)*time.Millisecond - time.Hour)} }, true},
		"a file for each round":              {func(i int) version { return version{uint64(i + 1), began.Add(time.Duration(i+1) * time.Millisecond)} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := suspect{since: began}
			inJIT := 0
			for i := range 100 {
				if s.code(sample{mode: 2, code: bpfCodeFILE_CODE, file: c.file(i)}) == rounding.JITCode {
					inJIT++
				}
			}
			if c.jit && inJIT < 99 || !c.jit && inJIT > 31 {
				t.Errorf("%d of 100 samples are in JIT code", inJIT)
			}
		})
	}
}
