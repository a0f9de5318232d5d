package testutil

import (
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
	"testing"
	"time"
)

// leakPatience is how long what tests have closed or cancelled may take to end.
const leakPatience = 2 * time.Second

// RunWithoutLeaks runs the tests of a package and returns the exit code for
// its TestMain. Goroutines or file descriptors that the tests leave behind are
// printed and make the code 1.
func RunWithoutLeaks(m *testing.M) int {
	startRuntime()
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	code := m.Run()
	for end := time.Now().Add(Patience(leakPatience)); ; time.Sleep(10 * time.Millisecond) {
		left := openDescriptors()
		maps.DeleteFunc(left, func(fd, file string) bool { return descriptors[fd] == file })
		if runtime.NumGoroutine() <= goroutines && len(left) == 0 {
			return code
		}
		if time.Now().After(end) {
			fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after; descriptors left: %v\n",
				goroutines, runtime.NumGoroutine(), left)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
			return max(code, 1)
		}
	}
}

// startRuntime makes the runtime open what it opens once and keeps: its poller
// and the goroutine that waits for signals.
func startRuntime() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	signal.Stop(c)
}

// openDescriptors returns the open file of each descriptor of this process.
func openDescriptors() map[string]string {
	open := make(map[string]string)
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range links {
		// The descriptor with which the directory was read is closed by now.
		if file, err := os.Readlink(fd); err == nil {
			open[fd] = file
		}
	}
	return open
}
