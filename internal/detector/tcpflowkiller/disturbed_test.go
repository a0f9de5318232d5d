package tcpflowkiller

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// harmless is as much as is judged of a stream: its judgement takes long.
var harmless = strings.Repeat(electrum, window/len(electrum))

// late has the words of a miner at the end of what is judged.
var late = harmless[:len(harmless)-2*len(electrum)] + subscribe

// talk opens connections until standard input ends, says on each what p.Says has and keeps all.
// One of five sends small packets at a steady rate: a timer of the kernel sends them, in an
// interrupt, which comes while another packet of this CPU is judged. It prints how many there are.
func talk(p part) {
	ends := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ends)
	}()
	paced := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if failed := c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 88); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 4<<20)
			}
		}); failed != nil {
			return failed
		}
		return err
	}}
	var open []net.Conn
	for {
		for _, d := range []net.Dialer{paced, {}, {}, {}, {}} {
			c, err := d.Dial("tcp4", p.Address)
			must(err)
			must(c.(*net.TCPConn).SetLinger(0))
			_, err = c.Write([]byte(p.Says))
			must(err)
			open = append(open, c)
		}
		select {
		case <-ends:
			fmt.Println(len(open))
			time.Sleep(testutil.Patience(time.Minute))
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// A talker is a process that talks, and what came of each of its connections.
type talker struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	mu    sync.Mutex
	came  []*bytes.Buffer
}

// newTalker starts a process, on the same CPU as all of them.
func newTalker(b *bed, says string) *talker {
	b.t.Helper()
	k := &talker{}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			came := &bytes.Buffer{}
			k.mu.Lock()
			k.came = append(k.came, came)
			k.mu.Unlock()
			all.Go(func() {
				defer c.Close()
				buf := make([]byte, window)
				for {
					n, err := c.Read(buf)
					k.mu.Lock()
					came.Write(buf[:n])
					k.mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
	})
	text, err := json.Marshal(part{Name: "talks", Address: l.Addr().String(), Says: says})
	if err != nil {
		b.t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	k.cmd = exec.Command(program)
	k.cmd.Env = append(os.Environ(), partVariable+"="+string(text))
	if k.stdin, err = k.cmd.StdinPipe(); err != nil {
		b.t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	k.out = bufio.NewReader(out)
	onOneCPU(b.t, func() { b.run(k.cmd) })
	b.t.Cleanup(func() {
		testutil.End(k.cmd)
		_ = l.Close()
		all.Wait()
	})
	return k
}

// onOneCPU has the processes that do starts run on the first of the CPUs that this one may use.
func onOneCPU(t testing.TB, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if all.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all) //nolint:errcheck // a test
	do()
}

// end has it open no more connections, and returns how many it has.
func (k *talker) end(t *testing.T) int {
	t.Helper()
	_ = k.stdin.Close()
	line, err := k.out.ReadString('\n')
	n, bad := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || bad != nil {
		t.Fatal(line, err, bad)
	}
	return n
}

// arrived returns what has come of each connection.
func (k *talker) arrived() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.came {
		all = append(all, b.String())
	}
	return all
}

// occupy takes the first n areas of all CPUs, as if something was judged in each. Its caller sends
// nothing meanwhile. What it returns fails the test if another judgement used one, and leaves them.
func (b *bed) occupy(n uint32) (leave func()) {
	b.t.Helper()
	areas := b.d.objs.Works
	for area := range n {
		var all []bpfWork
		if err := areas.Lookup(area, &all); err != nil {
			b.t.Fatal(err)
		}
		for i := range all {
			if all[i].Users != 0 {
				b.t.Fatalf("area %d of CPU %d is taken", area, i)
			}
			all[i] = bpfWork{Users: 1, From: 0x5a5a, Left: 0x5a5a, Pos: 0x5a5a, Len: 0x5a5a, Stop: 0x5a5a}
		}
		if err := areas.Put(area, all); err != nil {
			b.t.Fatal(err)
		}
	}
	return func() {
		b.t.Helper()
		for area := range n {
			var all []bpfWork
			if err := areas.Lookup(area, &all); err != nil {
				b.t.Fatal(err)
			}
			for i, w := range all {
				if want := (bpfWork{Users: 1, From: 0x5a5a, Left: 0x5a5a, Pos: 0x5a5a, Len: 0x5a5a, Stop: 0x5a5a}); w != want {
					b.t.Errorf("area %d of CPU %d was used: %+v", area, i, w)
				}
				all[i].Users = 0
			}
			if err := areas.Put(area, all); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func (b *bed) counter(i bpfOwnCounter) uint64 {
	b.t.Helper()
	c, err := verdict.ReadCounters(b.d.shared[bpfMapCounters], int(bpfOwnCounterCOUNTERS))
	if err != nil {
		b.t.Fatal(err)
	}
	return c[i]
}

// Programs of a cgroup have no guard against running inside each other: while one judges what a
// process sends, an interrupt on this CPU may send for another socket. That one has an area of its own;
// where it has none, its packet is dropped, sent again and judged then.
func TestADisturbedJudgementIsRepeated(t *testing.T) {
	t.Run("with one area", func(t *testing.T) { disturb(t, 1) })
	t.Run("with all areas", func(t *testing.T) { disturb(t, 0) })
}

// Each program of a cgroup can be interrupted or preempted between reading and writing a counter, by one that
// counts meanwhile: an old value that is written back would pass for a reset.
func TestCountersAreAtomic(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	atomic := 0
	for name, p := range spec.Programs {
		for i := range p.Instructions[:max(len(p.Instructions)-2, 0)] {
			load, add, store := p.Instructions[i], p.Instructions[i+1], p.Instructions[i+2]
			if load.OpCode.Class().IsStore() && load.OpCode.Mode() == asm.AtomicMode {
				atomic++
			}
			if load.OpCode == asm.LoadMemOp(asm.DWord) && load.Offset == 0 && add.OpCode == asm.Add.Op(asm.ImmSource) && add.Dst == load.Dst &&
				add.Constant == 1 && store.OpCode == asm.StoreMemOp(asm.DWord) && store.Dst == load.Src && store.Src == load.Dst && store.Offset == 0 {
				t.Errorf("%s counts with load, add and store at %d", name, i)
			}
		}
	}
	if atomic == 0 {
		t.Error("no atomic instruction")
	}
}

// disturb has judgements run inside each other that find as many free areas, 0 for all.
func disturb(t *testing.T, free uint32) {
	s := Defaults()
	s.Action = Refuse // so that a process can be judged many times
	b := newBed(t, bedOptions{settings: s})
	enough := func() bool { return b.counter(bpfOwnCounterPACKETS_CHECKED) >= 1000 }
	if free > 0 {
		defer b.occupy(b.d.objs.Works.MaxEntries() - free)()
		enough = func() bool { return b.counter(bpfOwnCounterDISTURBED) >= 100 }
	}
	began := time.Now()
	honest, miner := newTalker(b, harmless), newTalker(b, late)
	testutil.Eventually(t, "judgements", enough)
	took := time.Since(began)
	honestOnes, miners := honest.end(t), miner.end(t)
	disturbed := b.counter(bpfOwnCounterDISTURBED)
	t.Logf("%d connections of an honest client and %d of a miner, %d judgements disturbed in %v", honestOnes, miners, disturbed, took)
	if free == 0 && disturbed != 0 {
		t.Errorf("%d judgements found no area", disturbed)
	}
	testutil.Eventually(t, "all that the honest client sends", func() bool {
		all := honest.arrived()
		return len(all) == honestOnes && !slices.ContainsFunc(all, func(s string) bool { return s != harmless })
	})
	refused := uint64(0)
	for end := time.Now().Add(testutil.Patience(20 * time.Second)); refused < uint64(miners) && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		f, err := b.d.fates()
		if err != nil {
			t.Fatal(err)
		}
		refused = f[bpfReasonBECAUSE_STRATUM][bpfFateFATE_REFUSED]
	}
	if refused != uint64(miners) {
		t.Errorf("%d connections are refused, not the %d of the miner", refused, miners)
	}
	for _, said := range miner.arrived() {
		if len(said) >= strings.Index(late, `", "params": ["cpuminer`) {
			t.Errorf("%q arrives", said[len(said)-min(len(said), 100):])
		}
	}
	if all := b.lines(honest.cmd.Process.Pid); len(all) > 0 {
		t.Errorf("a verdict on the honest client: %v", all)
	}
}

// What finds no area is not judged, and not let through: the miner dies when its words are sent again,
// and others go on then. A DNS question by UDP passes.
func TestAJudgementWithoutAnAreaIsRepeated(t *testing.T) {
	s := newSink(t, "tcp4", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(s.Addr().String())
	b := newBed(t, bedOptions{lists: lists{addresses: prefixes("127.1.2.3/32")}})
	leave := b.occupy(b.d.objs.Works.MaxEntries())
	resolver := newSink(t, "tcp4", dns)
	questions, err := net.ListenPacket("udp4", dns)
	if err != nil {
		t.Fatal(err)
	}
	defer questions.Close()
	ask := func(name string) {
		cmd, _ := b.start(order{Asks: []byte(question(name, false)), AsksAt: dns, Stay: time.Millisecond})
		ended(cmd)
	}
	stay := testutil.Patience(5 * time.Second)
	miner, _ := b.start(order{Address: s.Addr().String(), Sends: sends(login), Stay: stay})
	b.start(order{Address: s.Addr().String(), Sends: sends(electrum), Stay: stay})
	b.start(order{AsksTCP: true, Asks: []byte(question("a.refuse.test", true)), AsksAt: dns, Stay: stay})
	banned, _ := b.start(order{Address: "127.1.2.3:" + port, Sends: sends("x"), Stay: time.Millisecond})
	ask("a.minexmr.com")
	if signal, status := ended(banned); signal != 0 || status != exitRefused {
		t.Errorf("what connects to a banned address: killed by %v, status %d", signal, status)
	}
	// What is sent again is disturbed again.
	testutil.Eventually(t, "disturbed judgements", func() bool {
		return s.connections() == 2 && resolver.connections() == 1 && b.counter(bpfOwnCounterDISTURBED) >= 5
	})
	if strings.Contains(b.log.String(), `"action"`) || s.text() != "" || b.counter(bpfOwnCounterMARKED) != 0 {
		t.Errorf("without an area: %q arrives, %d marked", s.text(), b.counter(bpfOwnCounterMARKED))
	}
	came := make([]byte, 512)
	must(questions.SetReadDeadline(time.Now().Add(testutil.Patience(10 * time.Second))))
	if n, _, err := questions.ReadFrom(came); err != nil || string(came[:n]) != question("a.minexmr.com", false) {
		t.Errorf("the question that comes by UDP without an area: %q, %v", came[:n], err)
	}
	leave()
	if signal, _ := ended(miner); signal != syscall.SIGKILL {
		t.Errorf("the miner: killed by %v", signal)
	}
	testutil.Eventually(t, "what others send", func() bool { return s.text() == electrum })
	testutil.Eventually(t, "the refusal of the question by TCP", func() bool {
		f, err := b.d.fates()
		return err == nil && f[bpfReasonBECAUSE_NAME][bpfFateFATE_REFUSED] == 1
	})
	ask("b.minexmr.com")
	testutil.Eventually(t, "a mark", func() bool { return b.counter(bpfOwnCounterMARKED) == 1 })
	if resolver.text() != "" {
		t.Errorf("%q arrives at the resolver", resolver.text())
	}
}
