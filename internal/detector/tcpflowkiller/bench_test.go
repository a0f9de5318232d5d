package tcpflowkiller

import (
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// empty attaches a program that does nothing, to compare with.
func empty(b *testing.B, cgroup string, kind ebpf.ProgramType, at ebpf.AttachType) *ebpf.Program {
	b.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: kind, AttachType: at, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	l, err := link.AttachCgroup(link.CgroupOptions{Path: cgroup, Attach: at, Program: p})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = l.Close(), p.Close() })
	return p
}

// measure returns the mean time of a program's runs, in ns, while do runs.
func measure(b *testing.B, programs []*ebpf.Program, do func()) (ns []float64) {
	b.Helper()
	type sample struct{ time, count float64 }
	read := func() (all []sample) {
		for _, p := range programs {
			s, err := p.Stats()
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, sample{float64(s.Runtime), float64(s.RunCount)})
		}
		return all
	}
	before := read()
	do()
	for i, after := range read() {
		ns = append(ns, (after.time-before[i].time)/max(after.count-before[i].count, 1))
	}
	return ns
}

// BenchmarkConnections measures the programs by the kernel's statistics, beside empty ones. The
// statistics themselves cost each run some 30 ns.
func BenchmarkConnections(b *testing.B) {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	var l lists
	for i := range 1000 {
		l.addresses = append(l.addresses, bannedAddress{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i >> 8), byte(i), 0}), 24)})
	}
	for i := range 100_000 {
		l.addresses = append(l.addresses, bannedAddress{prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{101, byte(i >> 16), byte(i >> 8), byte(i)}), 32)})
	}
	bed := newBed(b, bedOptions{lists: l})
	egress := []*ebpf.Program{bed.d.objs.JudgeEgress, empty(b, bed.cgroup, ebpf.CGroupSKB, ebpf.AttachCGroupInetEgress)}
	connect := []*ebpf.Program{bed.d.objs.JudgeConnect4, empty(b, bed.cgroup, ebpf.CGroupSockAddr, ebpf.AttachCGroupInet4Connect)}
	enter(b, bed.cgroup)
	s, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	go func() {
		for {
			c, err := s.Accept()
			if err != nil {
				return
			}
			go echo(c)
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp4", s.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		return c
	}
	report := func(b *testing.B, programs []*ebpf.Program, do func()) {
		var ours, none float64
		for range 5 {
			ns := measure(b, programs, do)
			if ours == 0 || ns[0]-ns[1] < ours-none {
				ours, none = ns[0], ns[1]
			}
		}
		b.ReportMetric(ours-none, "ns-above-empty")
		b.ReportMetric(none, "ns-empty")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("old_connection", func(b *testing.B) {
		c := dial()
		defer c.Close()
		buf := make([]byte, 64)
		report(b, egress, func() {
			for range 20_000 {
				_, _ = c.Write(buf)
				_, _ = io.ReadFull(c, buf)
			}
		})
	})
	for name, first := range map[string]string{"GET": "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "JSON": electrum} {
		b.Run("whole_connection_with_"+name, func(b *testing.B) {
			report(b, egress, func() {
				for range 500 {
					c := dial()
					_, _ = c.Write([]byte(first))
					_, _ = io.ReadFull(c, make([]byte, len(first)))
					_ = c.(*net.TCPConn).SetLinger(0)
					_ = c.Close()
				}
			})
		})
	}
	b.Run("connect", func(b *testing.B) {
		report(b, connect, func() {
			for range 1000 {
				c := dial()
				_ = c.(*net.TCPConn).SetLinger(0)
				_ = c.Close()
			}
		})
	})
}

// enter moves this process into a cgroup until the benchmark ends.
func enter(b *testing.B, cgroup string) {
	b.Helper()
	procs := func(dir string) {
		if err := os.WriteFile(dir+"/cgroup.procs", []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			b.Fatal(err)
		}
	}
	procs(cgroup)
	b.Cleanup(func() { procs(cgroup + "/..") })
}

// echo does not splice, for which Go keeps pipes.
func echo(c net.Conn) {
	defer c.Close()
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}
