package execwhacker

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/detectortest"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) {
	procread.ServeIfChild()
	os.Exit(testutil.RunWithoutLeaks(m))
}

func TestADetectorLeavesNothingBehind(t *testing.T) {
	testutil.Privileged(t)
	const word = "execwhackerleaktestword"
	env := detectortest.Env(t, detectortest.Options{})
	policy := detector.Policy{
		Matcher:      mustCompile(t, rules.Set{Bans: []rules.Ban{{Text: word, Action: rules.Kill}}}),
		ScanInterval: time.Hour,
	}
	cycle := func() {
		reader := procread.NewReader(env.Log)
		env.Judge.Reader = reader
		d, err := Load(env, policy)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		if err := exec.Command("/bin/echo", word).Run(); err == nil {
			t.Fatal("a banned program lived")
		}
		if err := d.Apply(policy); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("/bin/echo", word).Run(); err == nil {
			t.Fatal("a banned program lived after a reload")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(d.Close(), reader.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cycle() // the first one opens descriptors that the Go runtime keeps
	descriptors, goroutines := countDescriptors(t), runtime.NumGoroutine()
	n := 0
	for end := time.Now().Add(3 * time.Second); n < 5 || n < 1000 && time.Now().Before(end); n++ {
		cycle()
	}
	t.Logf("%d cycles", n)
	testutil.Eventually(t, "no more descriptors and goroutines than before", func() bool {
		return countDescriptors(t) <= descriptors && runtime.NumGoroutine() <= goroutines
	})
}

func countDescriptors(t *testing.T) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
