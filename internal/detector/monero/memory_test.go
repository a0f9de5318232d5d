package monero

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/monero/rounding"
)

const mapsText = `55d0c0000000-55d0c0010000 r-xp 00000000 fe:00 131 /usr/bin/program
55d0c0010000-55d0c0020000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 r-xp 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00000000 00:01 77 /memfd:code (deleted)
7f0000004000-7f0000005000 rw-s 00000000 fe:00 500 /tmp/written
7f0000006000-7f0000007000 r-xs 00000000 fe:00 500 /tmp/written
7f0000008000-7f0000009000 r-xp 00000000 fe:00 501 /tmp/a\012 7f0000010000-7f0000011000 r-xp 00000000 00:00 0
7ffe00000000-7ffe00001000 r-xp 00000000 00:00 0 [vdso]
`

func TestWhereAnInstructionLies(t *testing.T) {
	m := parseMaps([]byte(mapsText + "nonsense\n-\n1-0 r-xp 0 0 0\n"))
	for name, c := range map[string]struct {
		ip   uint64
		want rounding.Memory
	}{
		"in a program":                             {0x55d0c0000000, rounding.FileMemory},
		"in anonymous memory":                      {0x7f0000000fff, rounding.AnonymousMemory},
		"behind a mapping":                         {0x7f0000001000, rounding.OtherMemory},
		"in a memory file":                         {0x7f0000002000, rounding.AnonymousMemory},
		"in a file that the process writes itself": {0x7f0000006000, rounding.AnonymousMemory},
		"in a file whose name looks like a line":   {0x7f0000008000, rounding.FileMemory},
		"in that name":                             {0x7f0000010000, rounding.OtherMemory},
		"in code of the kernel's":                  {0x7ffe00000000, rounding.FileMemory},
	} {
		t.Run(name, func(t *testing.T) {
			if got := m.at(c.ip); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestTheMemoryOfRandomX(t *testing.T) {
	at := uint64(1 << 40)
	sized := func(sizes ...uint64) (m memory) {
		for _, size := range sizes {
			m = append(m, mapping{start: at, end: at + size, perms: "rw-p", madeUp: true})
			at += size + mib
		}
		return m
	}
	file := sized(256*mib, 2*mib)
	file[0].madeUp = false
	for name, c := range map[string]struct {
		m    memory
		want string
	}{
		"light mode":                       {sized(256*mib+4096, 2*mib), "cache of 256 MiB"},
		"light mode, joined by the kernel": {sized(258 * mib), "cache of 258 MiB"},
		"fast mode":                        {sized(2080*mib, 2*mib, 2*mib), "dataset of 2080 MiB"},
		"fast mode in huge pages":          {sized(3072*mib, 2*mib), "dataset of 3072 MiB"},
		"a cache without any scratchpad":   {sized(256*mib, mib), ""},
		"a heap":                           {sized(1024*mib, 2*mib), ""},
		"nothing":                          {nil, ""},
		"a file of the size":               {file, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.m.randomX(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func FuzzMaps(f *testing.F) {
	f.Add([]byte(mapsText), uint64(0x7f0000000000))
	f.Fuzz(func(t *testing.T, text []byte, ip uint64) {
		m := parseMaps(text)
		for _, e := range m {
			if e.start >= e.end {
				t.Errorf("an empty mapping: %+v", e)
			}
		}
		m.at(ip)
		m.randomX()
	})
}
