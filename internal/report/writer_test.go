package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func jsonLines(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }

// fullPipe returns both ends of a full pipe.
func fullPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("\n"), size)); err != nil {
		t.Fatal(err)
	}
	return r, w
}

func TestAWriterDoesNotBlockAndReportsLostLines(t *testing.T) {
	r, out := fullPipe(t)
	w := NewWriter(out, jsonLines)
	line := strings.Repeat("x", 999) + "\n"
	const n = 2 * maxQueued / 1000 * 2 // twice the size of the queue and of one write
	for range n {
		if got, err := io.WriteString(w, line); got != len(line) || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
	}
	if lost := w.Lost(); lost < n/3 || lost >= n {
		t.Errorf("%d of %d lines are lost", lost, n)
	}
	ended := make(chan error)
	go func() { ended <- w.Close(time.Minute) }()
	text := make(chan string)
	go func() {
		b, _ := io.ReadAll(r)
		text <- strings.TrimLeft(string(b), "\n")
	}()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	out.Close()
	got := <-text
	whole := strings.Count(got, line)
	report := fmt.Sprintf(`"level":"WARN","msg":"log lines lost","lines":%d}`+"\n", w.Lost())
	if whole+int(w.Lost()) != n || !strings.HasSuffix(got, report) || strings.Count(got, "\n") != whole+1 {
		t.Errorf("%d lines written, %d lost of %d; the end is %q", whole, w.Lost(), n, got[max(0, len(got)-150):])
	}
}

func TestAnOutputThatBlocksDoesNotDelayClose(t *testing.T) {
	r, out := fullPipe(t)
	w := NewWriter(out, jsonLines)
	_, _ = io.WriteString(w, "last line\n")
	if err := w.Close(10 * time.Millisecond); err == nil {
		t.Error("no error")
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	<-w.done // so that the test leaks no goroutine
	out.Close()
}

// A disk is an output that accepts at most room bytes.
type disk struct {
	mu   sync.Mutex
	room int
	text bytes.Buffer
}

var errFull = errors.New("no space left")

func (d *disk) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(b), d.room-d.text.Len())
	d.text.Write(b[:n])
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

func (d *disk) grow(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room += room
}

func (d *disk) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

func TestLinesAreLostOnlyWhileADiskIsFull(t *testing.T) {
	d := &disk{room: 6}
	w := NewWriter(d, jsonLines)
	_, _ = io.WriteString(w, "one\ntwo\nthree\n") // half of the second line is written
	for w.Lost() < 2 {
		time.Sleep(time.Millisecond)
	}
	d.grow(1000)
	_, _ = io.WriteString(w, "four\n")
	if err := w.Close(time.Minute); err != nil {
		t.Error(err)
	}
	got := d.String()
	begin, report, _ := strings.Cut(got, `{"time":`)
	// Lost lines are reported as soon as there is room: before the next line, or after it.
	begin, end := begin, report[strings.IndexByte(report, '\n')+1:]
	if begin+end != "one\ntw\nfour\n" || !strings.Contains(report, `"lines":2}`) || strings.Count(got, "lost") != 1 || w.Lost() != 2 {
		t.Errorf("got %q, with %d lost", got, w.Lost())
	}
}

func TestCloseReturnsTheErrorOfTheOutput(t *testing.T) {
	w := NewWriter(new(disk), jsonLines)
	_, _ = io.WriteString(w, "one\n")
	if err := w.Close(time.Minute); !errors.Is(err, errFull) || w.Lost() != 1 {
		t.Errorf("got %v, with %d lost", err, w.Lost())
	}
	_, _ = io.WriteString(w, "two\n")
	if w.Lost() != 2 {
		t.Error("a line after Close is not counted")
	}
}

func TestConcurrentLinesStayWholeAndInOrder(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, jsonLines)
	var all sync.WaitGroup
	for name := range 8 {
		all.Go(func() {
			for i := range 200 {
				_, _ = fmt.Fprintf(w, "%d %d\n", name, i)
			}
		})
	}
	all.Wait()
	if err := w.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	next := make(map[int]int)
	for l := range strings.Lines(out.String()) {
		var name, i int
		if _, err := fmt.Sscanf(l, "%d %d\n", &name, &i); err != nil || next[name] != i {
			t.Fatalf("line %q, %v; want number %d", l, err, next[name])
		}
		next[name]++
	}
	if len(next) != 8 || next[0] != 200 {
		t.Errorf("got %v", next)
	}
}

func TestLinesOfExecsLeaveRoomForOthers(t *testing.T) {
	r, out := fullPipe(t)
	w := NewWriter(out, jsonLines)
	spare, line := w.Spare(), []byte(strings.Repeat("x", 999)+"\n")
	for range 3 * maxQueued / len(line) { // the goroutine takes one queue at most, and blocks
		_, _ = spare.Write(line)
	}
	lost := w.Lost()
	if lost == 0 {
		t.Error("none is lost")
	}
	for range maxQueued/2/len(line) - 1 {
		_, _ = w.Write(line)
	}
	if n := w.Lost() - lost; n > 0 {
		t.Errorf("%d of the others are lost", n)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := w.Close(time.Minute); err != nil {
		t.Error(err)
	}
	out.Close()
}
