package hashwork

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/scratchpad"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// A search of memory is dear and is not remembered: the next one is when the samples have doubled.
func TestMemoryIsSearchedAgainWhenTheSamplesHaveDoubled(t *testing.T) {
	testutil.Privileged(t)
	pid := testutil.Start(t, exec.Command("sleep", "600")).Process.Pid
	var start uint64
	testutil.Eventually(t, "the stack of sleep", func() bool {
		maps, _ := os.ReadFile(process.Dir(pid) + "/maps")
		before, _, ok := strings.Cut(string(maps), "[stack]")
		_, err := fmt.Sscanf(before[strings.LastIndexByte(before, '\n')+1:], "%x-", &start)
		return ok && err == nil
	})
	info, _, err := process.Describe(pid)
	if err != nil {
		t.Fatal(err)
	}
	j := job{
		key: process.Execution{PID: info.PID, Start: info.Start}, samples: 100, credit: newCredit(), state: new(state),
		instructions: slices.Repeat([]uint64{start}, 100),
		registers:    scratchpad.New(arch), policy: &policy{settings: Defaults()},
	}
	h, err := j.key.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	e := examiner{reader: detectortest.Env(t, detectortest.Options{}).Judge.Reader}
	if _, err := e.examine(t.Context(), h, j); err != nil {
		t.Fatal(err)
	}
	if j.state.imageDue(199) || !j.state.imageDue(200) {
		t.Errorf("due with 199 samples: %v, with 200: %v", j.state.imageDue(199), j.state.imageDue(200))
	}
}
