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

// leakPatience is the time limit for goroutines to end after the tests.
const leakPatience = 2 * time.Second

// RunWithoutLeaks runs the tests of a package and returns the exit code for its TestMain.
// If the tests leak goroutines or file descriptors, it prints them and returns 1.
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

// startRuntime makes the Go runtime start its poller and the goroutine for signals, which
// never end.
func startRuntime() {
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGWINCH)
	signal.Stop(c)
}

// openDescriptors returns the files of all file descriptors of this process.
func openDescriptors() map[string]string {
	open := make(map[string]string)
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, fd := range links {
		// Glob has closed its own descriptor.
		if file, err := os.Readlink(fd); err == nil {
			open[fd] = file
		}
	}
	return open
}
