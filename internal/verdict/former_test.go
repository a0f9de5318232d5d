package verdict

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/cryptnono/cryptnono/internal/pin"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// send has a kernel program, which is attached to nothing, send events of a byte each.
func send(t *testing.T, events *ebpf.Map, bytes ...int32) {
	t.Helper()
	var code asm.Instructions
	for _, b := range bytes {
		code = append(code,
			asm.Mov.Imm(asm.R1, b),
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
			asm.LoadMapPtr(asm.R1, events.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.Mov.Imm(asm.R3, 8),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnRingbufOutput.Call())
	}
	code = append(code, asm.Mov.Imm(asm.R0, 0), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: code})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Run(&ebpf.RunOptions{Data: make([]byte, 64)}); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventThatCannotBeReadLosesNoOther(t *testing.T) {
	path := filepath.Join(testutil.MountBPF(t), "pins")
	a := startCounting(t, path, "a")
	spec := &ebpf.MapSpec{Name: "events", Type: ebpf.RingBuf, MaxEntries: 4096}
	a.Share(spec)
	events, err := a.NewMap(spec)
	if err != nil {
		t.Fatal(err)
	}
	send(t, events, 1, 2, 3, 4, 5)
	if err := events.Close(); err != nil {
		t.Fatal(err)
	}
	a.crash(t)

	b := startCounting(t, path, "b")
	defer b.crash(t)
	var got []byte
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	err = b.readEventsOf(t.Context(), log, b.Formers[0], func(_ *pin.Former, record []byte) error {
		if got = append(got, record[0]); record[0]%2 == 0 {
			return fmt.Errorf("bad: %w", errors.New(string('0'+record[0])))
		}
		return nil
	})
	if err != nil || !slices.Equal(got, []byte{1, 2, 3, 4, 5}) {
		t.Errorf("read %v, %v", got, err)
	}
	if !strings.Contains(out.String(), `verdicts=2 err="bad: 2"`) {
		t.Errorf("logged %s", out.String())
	}
}
