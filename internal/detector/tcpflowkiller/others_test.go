package tcpflowkiller

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A network policy engine or systemd attaches its own programs to the same cgroup. Both run.
func TestProgramsOfOtherSoftwareGoOn(t *testing.T) {
	t.Parallel()
	program, packets := testutil.PacketCounter(t)
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
	t.Parallel()
	env := detectortest.Env(t, detectortest.Options{})
	program, _ := testutil.PacketCounter(t)
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
