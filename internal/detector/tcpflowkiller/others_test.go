package tcpflowkiller

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// foreign is a program of other software that counts packets and lets them through.
func foreign(t *testing.T) (p *ebpf.Program, packets func() uint64) {
	t.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSKB, AttachType: ebpf.AttachCGroupInetEgress, License: "GPL",
		Instructions: asm.Instructions{
			asm.LoadMapValue(asm.R1, count.FD(), 0),
			asm.Mov.Imm(asm.R2, 1),
			asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
			asm.Mov.Imm(asm.R0, 1),
			asm.Return(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = p.Close(), count.Close() })
	return p, func() (n uint64) {
		if err := count.Lookup(uint32(0), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// A network policy engine or systemd attaches its own programs to the same cgroup. Both run.
func TestProgramsOfOtherSoftwareGoOn(t *testing.T) {
	program, packets := foreign(t)
	b := newBed(t, bedOptions{})
	l, err := link.AttachCgroup(link.CgroupOptions{Path: b.cgroup, Attach: ebpf.AttachCGroupInetEgress, Program: program})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSink(t, "tcp4", "127.0.0.1:0")
	client, _ := b.start(order{Address: s.Addr().String(), Sends: sends(electrum)})
	if signal, status := ended(client); signal != 0 || status != exitDone {
		t.Errorf("a client: killed by %v, status %d", signal, status)
	}
	testutil.Eventually(t, "its words", func() bool { return s.text() == electrum })
	before := packets()
	miner, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Stay: testutil.Patience(5 * time.Second)})
	if signal, _ := ended(miner); signal != syscall.SIGKILL || s.text() != electrum {
		t.Errorf("a miner: killed by %v, %q arrives", signal, s.text())
	}
	if packets() == before || before == 0 {
		t.Errorf("the other program saw %d packets of the client, and then %d", before, packets()-before)
	}
}

// A program that is attached exclusively keeps all others away from its cgroup.
func TestAnExclusiveProgramIsNamed(t *testing.T) {
	env := detectortest.Env(t, detectortest.Options{})
	program, _ := foreign(t)
	cgroup := testutil.MakeCgroup(t, fmt.Sprintf("cryptnono-flow-%d-exclusive", os.Getpid()))
	root, err := os.Open(cgroup)
	if err != nil {
		t.Fatal(err)
	}
	attachment := link.RawAttachProgramOptions{Target: int(root.Fd()), Program: program, Attach: ebpf.AttachCGroupInetEgress}
	if err := link.RawAttachProgram(attachment); err != nil {
		t.Fatal(err)
	}
	d, err := load(env, detector.Policy{Settings: Defaults()}, root, lists{}, Defaults())
	if err == nil {
		t.Fatal("loaded", d.Close())
	}
	if !strings.Contains(err.Error(), "another program is attached there exclusively") {
		t.Error(err)
	}
}
