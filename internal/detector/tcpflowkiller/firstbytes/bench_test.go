package firstbytes

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

// BenchmarkFirstBytes measures what a run of the kernel program for the first packet of a
// connection takes above an empty one, with few and with many names.
func BenchmarkFirstBytes(b *testing.B) {
	g := generator{rand.New(rand.NewPCG(1, 1))}
	var login string
	for _, r := range load(b, "mining.jsonl") {
		if r.Name == "recorded xmrig rx0" {
			login = string(r.whole())
		}
	}
	none, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer none.Close()
	for _, n := range []int{100, 50_000} {
		names := testNames()
		for i := range n {
			names[fmt.Sprintf("pool-%d.example.net", i)] = NewListed(i, NameUsual)
		}
		k := newKernel(b, Decides{Plain: Sure, Listed: Stratum}, names)
		for _, c := range []struct {
			name   string
			stream string
			q      Question
		}{
			{"nothing", "\x00", NoQuestion},
			{"SSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", NoQuestion},
			{"GET", "GET / HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: curl/8\r\n\r\n", NoQuestion},
			{"ClientHello", testutil.ClientHello(b, "www.example.org", "h2", "http/1.1"), NoQuestion},
			{"DNS", string(g.question("www.example.org", false)), UDPQuestion},
			{"CONNECT", "CONNECT www.example.org:443 HTTP/1.1\r\nHost: www.example.org\r\n\r\n", NoQuestion},
			{"login", login, NoQuestion},
			{"other JSON of 2 KiB", `{"message":"` + strings.Repeat("abcdefg ", 253) + `"}`, NoQuestion},
		} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(c.name, " ", "_"), n), func(b *testing.B) {
				in := make([]byte, linkHead)
				in = binary.NativeEndian.AppendUint32(in, 1)
				in = binary.NativeEndian.AppendUint32(in, uint32(c.q))
				in = append(in, c.stream...)
				least := func(p *ebpf.Program) float64 {
					best := time.Hour
					for range 5 {
						ret, took, err := p.Benchmark(in, 20_000, nil)
						if err != nil || ret != 1 {
							b.Fatal(ret, err)
						}
						best = min(best, took)
					}
					return float64(best.Nanoseconds())
				}
				idle, copies := least(none), least(k.objs.CopyState)
				b.ReportMetric(least(k.objs.JudgeBytes)-idle, "ns-above-empty")
				b.ReportMetric(copies-idle, "ns-of-the-test-program")
				b.ReportMetric(idle, "ns-empty")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
