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
	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
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

// A container can show a file of its own with the identity of one in another container, which has the
// device number later.
func TestWhatIsFoundInAFileIsKeptForEachContainer(t *testing.T) {
	testutil.Privileged(t)
	pid := testutil.Start(t, exec.Command("sleep", "600")).Process.Pid
	info, _, err := process.Describe(pid)
	if err != nil {
		t.Fatal(err)
	}
	e := examiner{reader: detectortest.Env(t, detectortest.Options{}).Judge.Reader}
	j := job{key: process.Execution{PID: info.PID, Start: info.Start}, owner: "/a", credit: newCredit()}
	h, err := j.key.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var file *mappedFile
	testutil.Eventually(t, "the program file", func() bool {
		in, err := e.space(t.Context(), h, j)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range in.files() {
			if strings.HasSuffix(f.mapping.Path, "/sleep") {
				file = f
			}
		}
		return file != nil
	})
	isMiner := func(owner string) bool {
		t.Helper()
		j.owner = owner
		counts, _, err := e.search(t.Context(), h, j, file)
		if err != nil {
			t.Fatal(err)
		}
		return counts.Miner()
	}
	if isMiner("/a") {
		t.Fatal("sleep has the words of a miner")
	}
	if len(e.known.now) == 0 {
		t.Skip("the file of sleep is new, or on a file system on which no file is kept")
	}
	for k := range e.known.now {
		e.known.now[k] = words.Counts{Protocol: 100}
	}
	if !isMiner("/a") {
		t.Error("it is searched again")
	}
	if isMiner("/b") {
		t.Error("what was kept for one container is used for another")
	}
}
