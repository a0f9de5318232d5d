//go:build !race

package execwhacker

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/match"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// BenchmarkHostileText measures the program on 6 MiB of arguments: prefixes of 50,000 bans, and
// allow patterns all of which are matched to the end. "ms/text" is the run time that the kernel
// counts, the minimum of all rounds.
func BenchmarkHostileText(b *testing.B) {
	testutil.Privileged(b)
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789.-"
	rnd := rand.New(rand.NewPCG(1, 2))
	var set rules.Set
	for range 50_000 {
		text := make([]byte, 9+rnd.IntN(29))
		for i := range text {
			text[i] = letters[rnd.IntN(len(letters))]
		}
		set.Bans = append(set.Bans, rules.Ban{Text: string(text), Action: rules.Kill})
	}
	for _, allowed := range []int{0, 4, 64} {
		set.Allowed = nil
		for i := range allowed {
			set.Allowed = append(set.Allowed, rules.Pattern{Expr: fmt.Sprintf(
				[]string{`.*allowed-%d.*`, `.*\bfine-%d`, `.*one-%d .*other`, `.*[xyz]spared-%d\s.*`}[i%4], i)})
		}
		k := newKernelMatcher(b, mustCompile(b, set))
		for name, cut := range map[string]func(string) string{
			"first 8 bytes":    func(ban string) string { return ban[:8] },
			"all but the last": func(ban string) string { return ban[:len(ban)-1] },
		} {
			b.Run(fmt.Sprintf("allowed=%d/%s", allowed, name), func(b *testing.B) {
				var text strings.Builder
				for text.Len() < 6<<20-1<<17 {
					text.WriteString(cut(set.Bans[rnd.IntN(len(set.Bans))].Text) + " ")
				}
				area := match.Area([]string{"x", text.String(), set.Bans[0].Text})
				stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
				if err != nil {
					b.Fatal(err)
				}
				defer stats.Close()
				least := 1e9
				for b.Loop() {
					before, _ := k.objs.JudgeTexts.Stats()
					if outcome, _, _ := k.judge(b, match.Command{Path: []byte("/usr/bin/python3"), Area: area}); outcome != verdict.OutcomeBanned {
						b.Fatalf("outcome %v", outcome)
					}
					after, _ := k.objs.JudgeTexts.Stats()
					least = min(least, (after.Runtime-before.Runtime).Seconds()*1e3)
				}
				b.ReportMetric(least, "ms/text")
			})
		}
		k.close()
	}
}
