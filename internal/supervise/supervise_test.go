package supervise

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

// supervised is a shell script that is supervised.
type supervised struct {
	dir    string // its working directory; each start adds a line to the file starts there
	hangup chan struct{}
	stop   context.CancelFunc
	status chan int
}

func start(t *testing.T, script string) *supervised {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	s := &supervised{dir: t.TempDir(), hangup: make(chan struct{}), stop: stop, status: make(chan int, 1)}
	run := Supervisor{
		Program: "/bin/sh", Args: []string{"sh", "-c", "cd " + s.dir + "; echo x >>starts; " + script},
		Log: slog.New(slog.DiscardHandler), Hangup: s.hangup,
	}
	go func() {
		status, err := run.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		s.status <- status
	}()
	t.Cleanup(stop)
	return s
}

// count returns the number of lines of a file.
func (s *supervised) count(file string) int {
	text, _ := os.ReadFile(filepath.Join(s.dir, file))
	return strings.Count(string(text), "\n")
}

func TestAProgramThatEndsAtEachStartEndsTheSupervisor(t *testing.T) {
	s := start(t, "exit 3")
	if status := <-s.status; status != 3 || s.count("starts") != most {
		t.Errorf("status %d after %d starts", status, s.count("starts"))
	}
}

func TestAStartThatLacksDescriptorsIsTriedAgain(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	few := limit
	few.Cur = 3 // the standard ones
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	more := sync.OnceFunc(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
	defer more()
	ended := make(chan int, 1)
	tries := make(chan struct{}, 100)
	run := Supervisor{Program: "/bin/true", Args: []string{"true"}, Log: slog.New(counter{slog.DiscardHandler, tries})}
	go func() {
		status, err := run.Run(t.Context())
		if err != nil {
			t.Error(err)
			status = -1
		}
		ended <- status
	}()
	for range most { // more than an agent may end
		<-tries
	}
	more()
	if status := <-ended; status != 0 {
		t.Errorf("status %d", status)
	}
}

// counter is a log that sends a value for each line.
type counter struct {
	slog.Handler
	lines chan struct{}
}

func (c counter) Enabled(context.Context, slog.Level) bool { return true }

func (c counter) Handle(context.Context, slog.Record) error {
	c.lines <- struct{}{}
	return nil
}

func TestAProgramThatIsKilledIsStartedAgain(t *testing.T) {
	// A shell cannot trap a signal that is ignored when it starts, as under nohup.
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGHUP)
	defer signal.Stop(ignored)
	s := start(t, `trap 'echo x >>hangups' HUP; trap 'echo x >>stops; exit 0' TERM
		[ $(wc -l <starts) = 1 ] && kill -KILL $$
		echo x >>ready; while :; do sleep 0.02; done`)
	began := time.Now()
	testutil.Eventually(t, "the second start", func() bool { return s.count("ready") == 1 })
	t.Logf("started again after %v", time.Since(began))
	s.hangup <- struct{}{}
	testutil.Eventually(t, "SIGHUP", func() bool { return s.count("hangups") == 1 })
	s.stop()
	if status := <-s.status; status != 0 || s.count("stops") != 1 || s.count("starts") != 2 {
		t.Errorf("status %d after %d starts and %d signals to stop", status, s.count("starts"), s.count("stops"))
	}
}

func TestAProgramThatEndsByItselfIsNotStartedAgain(t *testing.T) {
	s := start(t, "exit 0")
	if status := <-s.status; status != 0 || s.count("starts") != 1 {
		t.Errorf("status %d after %d starts", status, s.count("starts"))
	}
}

func TestTheStatusOfASignalIsThatOfAShell(t *testing.T) {
	s := start(t, "kill -KILL $$")
	if status := <-s.status; status != 128+9 {
		t.Errorf("status %d", status)
	}
}
