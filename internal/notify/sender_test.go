package notify

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/cryptnono/cryptnono/internal/testutil"
)

func TestMain(m *testing.M) { os.Exit(testutil.RunWithoutLeaks(m)) }

// A pipeListener accepts connections in memory, as synctest needs.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if c, ok := <-l; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (l pipeListener) Close() error   { return nil }
func (l pipeListener) Addr() net.Addr { return &net.UnixAddr{} }
func (l pipeListener) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	l <- theirs
	return ours, nil
}

// A bed is a sender and its receiver, in a bubble of synctest.
type bed struct {
	*sender
	log testutil.Buffer

	mu sync.Mutex
	at []time.Duration // of the requests
}

// requested records a request, and returns its number.
func (b *bed) requested(at time.Duration) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at = append(b.at, at)
	return len(b.at) - 1
}

// requests returns the times of the requests.
func (b *bed) requests() []time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.at)
}

// inBed runs a test with a sender whose receiver answers with answer(i) for request i.
func inBed(t *testing.T, answer func(w http.ResponseWriter, i int), test func(b *bed)) {
	t.Helper()
	inBedWithBodies(t, func(w http.ResponseWriter, i int, _ string) { answer(w, i) }, test)
}

// inBedWithBodies is inBed for an answer that depends on the body of the request.
func inBedWithBodies(t *testing.T, answer func(w http.ResponseWriter, i int, body string), test func(b *bed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b := new(bed)
		listener := make(pipeListener)
		server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			answer(w, b.requested(time.Since(began).Round(time.Millisecond)), string(body))
		})}
		served := make(chan struct{})
		go func() { _ = server.Serve(listener); close(served) }()
		counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{Name: "x"}) }
		r := Usual()
		r.Name, r.URL = "one", "http://receiver.example/secret"
		b.sender = newSender(newClient(r, "1"), slog.New(slog.NewTextHandler(&b.log, nil)), counter(), counter(), counter())
		b.transport.DialContext, b.transport.Proxy = listener.dial, nil
		go b.run()
		test(b)
		b.end(0)
		close(listener)
		<-served
		server.Close()
		time.Sleep(time.Hour) // for answers that take long
	})
}

func value(c prometheus.Metric) float64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		panic(err)
	}
	return m.GetCounter().GetValue()
}

// counts returns what was sent, failed and lost.
func (b *bed) counts() string {
	return fmt.Sprintf("%v %v %v", value(b.sent), value(b.failed), value(b.lost))
}

func (b *bed) push(n int) {
	for range n {
		m := newMessage(time.Now())
		m.line = &line{raw: []byte(killed)}
		b.sender.push(&m)
	}
}

// pushOf pushes a message of a container.
func (b *bed) pushOf(container, text string) {
	m := newMessage(time.Now())
	m.line = &line{raw: []byte(text), ContainerID: container}
	b.sender.push(&m)
}

func status(code int) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, _ int) { w.WriteHeader(code) }
}

func TestAMessageIsRetriedWithGrowingPauses(t *testing.T) {
	answer := func(w http.ResponseWriter, i int) {
		if i < 7 {
			http.Error(w, "no \x1b secret", http.StatusInternalServerError)
		}
	}
	inBed(t, answer, func(b *bed) {
		b.push(2)
		time.Sleep(5 * time.Minute)
		const s = time.Second
		if want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s, 91 * s}; !slices.Equal(b.requests(), want) {
			t.Errorf("tried at %v, want %v", b.requests(), want)
		}
		if got := b.counts(); got != "2 7 0" {
			t.Errorf("got %s", got)
		}
		log := b.log.String()
		if strings.Count(log, "\n") != 2 || !strings.Contains(log, `response status 500 Internal Server Error: no \\x1b secret`) || !strings.Contains(log, "accepts them again") {
			t.Errorf("log:\n%s", log)
		}
		if strings.Contains(log, "receiver.example") {
			t.Errorf("the URL is in the log:\n%s", log)
		}
	})
}

func TestAMessageIsLostAfterItsAge(t *testing.T) {
	inBed(t, status(http.StatusServiceUnavailable), func(b *bed) {
		b.push(1)
		time.Sleep(maxAge - time.Second)
		b.push(1)
		time.Sleep(2*maxPause + time.Second)
		if lost := value(b.lost); lost != 1 {
			t.Errorf("%v are lost", lost)
		}
		time.Sleep(maxAge)
		if got := value(b.lost); got != 2 || value(b.sent) != 0 {
			t.Errorf("got %s", b.counts())
		}
	})
}

func TestARefusedMessageIsNotRetried(t *testing.T) {
	for code, retried := range map[int]bool{400: false, 413: false, 422: false, 302: true, 401: true, 403: true, 404: true, 408: true, 429: true, 500: true, 503: true} {
		answer := func(w http.ResponseWriter, i int) {
			if i == 0 {
				w.Header().Set("Location", "/")
				w.WriteHeader(code)
			}
		}
		inBed(t, answer, func(b *bed) {
			b.push(1)
			time.Sleep(time.Minute)
			want := map[bool]string{true: "1 1 0", false: "0 1 1"}[retried]
			if got := b.counts(); got != want {
				t.Errorf("%d: got %s, want %s", code, got, want)
			}
		})
	}
}

func TestAReceiverCanAskForAPause(t *testing.T) {
	for asked, want := range map[string]time.Duration{"20": 20 * time.Second, "60000": maxRetryAfter, "-1": time.Second, "Fri, 27 Nov 2026 20:00:00 GMT": time.Second} {
		answer := func(w http.ResponseWriter, i int) {
			if i == 0 {
				w.Header().Set("Retry-After", asked)
				w.WriteHeader(http.StatusTooManyRequests)
			}
		}
		inBed(t, answer, func(b *bed) {
			b.push(1)
			time.Sleep(time.Hour)
			if at := b.requests(); len(at) != 2 || at[1] != want {
				t.Errorf("%s: tried at %v", asked, at)
			}
		})
	}
}

func TestAReceiverThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	answer := func(_ http.ResponseWriter, i int) {
		if i == 0 {
			time.Sleep(time.Hour)
		}
	}
	inBed(t, answer, func(b *bed) {
		b.push(1)
		time.Sleep(2 * time.Hour)
		if at := b.requests(); len(at) != 2 || at[1] != 11*time.Second || b.counts() != "1 1 0" {
			t.Errorf("tried at %v, %s", at, b.counts())
		}
		if log := b.log.String(); !strings.Contains(log, "context deadline exceeded") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestTheQueueIsBoundedAndItsLossesAreCounted(t *testing.T) {
	inBed(t, status(http.StatusBadGateway), func(b *bed) {
		const n = 10_000
		b.push(n)
		b.sender.mu.Lock()
		queued, size := len(b.queue), b.size
		b.sender.mu.Unlock()
		if queued == 0 || size > maxQueued || queued > maxMessages {
			t.Errorf("%d messages of %d bytes are queued", queued, size)
		}
		b.end(0)
		if lost := value(b.lost); lost != n || value(b.sent) != 0 {
			t.Errorf("%v of %d are lost", lost, n)
		}
	})
}

func TestTheLastMessagesAreSentAtTheEnd(t *testing.T) {
	inBed(t, func(w http.ResponseWriter, _ int) { time.Sleep(100 * time.Millisecond) }, func(b *bed) {
		b.push(5)
		began := time.Now()
		b.end(350 * time.Millisecond)
		if took := time.Since(began); took != 350*time.Millisecond || b.counts() != "3 1 2" {
			t.Errorf("after %v: %s", took, b.counts())
		}
	})
	inBed(t, status(http.StatusInternalServerError), func(b *bed) {
		b.push(3)
		began := time.Now()
		b.end(time.Minute)
		if took := time.Since(began); took != 0 || b.counts() != "0 3 3" {
			t.Errorf("after %v: %s", took, b.counts())
		}
	})
}

// Some containers have messages that the receiver cannot take: it drops the connection, or fails.
func TestAMessageThatFailsDelaysNoneOfOtherContainers(t *testing.T) {
	for what, fail := range map[string]func(http.ResponseWriter){
		"a status": func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) },
		"a crash":  func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"Retry-After": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
	} {
		var mu sync.Mutex
		bad := 0
		answer := func(w http.ResponseWriter, _ int, body string) {
			if strings.HasPrefix(body, "bad") {
				mu.Lock()
				bad++
				mu.Unlock()
				fail(w)
			}
		}
		inBedWithBodies(t, answer, func(b *bed) {
			const n, containers = 60, 3
			for i := range n {
				b.pushOf(fmt.Sprint("bad ", i%containers), fmt.Sprint("bad ", i))
			}
			const seconds = 300
			for i := range seconds {
				b.pushOf(fmt.Sprint("good ", i), "good")
				time.Sleep(time.Second)
				if sent, want := value(b.sent), float64(i-10); sent < want {
					t.Errorf("%s: after %d s, %v are sent", what, i+1, sent)
					break
				}
			}
			if log := b.log.String(); strings.Count(log, "\n") != 1 {
				t.Errorf("%s: while some are accepted, the log has\n%s", what, log)
			}
			time.Sleep(4 * maxPause) // the pauses are the longest
			b.pushOf("good", "good")
			time.Sleep(maxPause)
			if sent := value(b.sent); sent != seconds+1 {
				t.Errorf("%s: after pauses, %v are sent", what, sent)
			}
			time.Sleep(maxAge)
			b.pushOf("good", "good")
			time.Sleep(maxPause)
			mu.Lock()
			defer mu.Unlock()
			if got, want := b.counts(), fmt.Sprintf("%d %d %d", seconds+2, bad, n); got != want || bad > containers*25 {
				t.Errorf("%s: got %s, want %s", what, got, want)
			}
			if log := b.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "accepts them again") {
				t.Errorf("%s: in the end, the log has\n%s", what, log)
			}
		})
	}
}

// Between attempts with one message that fails, those with others are not more frequent.
func TestAReceiverThatIsDownIsNotTriedMoreOftenForManyMessages(t *testing.T) {
	inBed(t, status(http.StatusBadGateway), func(b *bed) {
		for i := range 20 {
			b.pushOf(fmt.Sprint(i), "x")
		}
		time.Sleep(2 * time.Minute)
		const s = time.Second
		if want := []time.Duration{0, 1 * s, 3 * s, 7 * s, 15 * s, 31 * s, 61 * s, 91 * s}; !slices.Equal(b.requests(), want) {
			t.Errorf("tried at %v, want %v", b.requests(), want)
		}
		b.pushOf("another", "x")
		time.Sleep(time.Millisecond)
		if n := len(b.requests()); n != 8 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestTheMessageThatFailedStaysInTheBoundOfTheQueue(t *testing.T) {
	inBed(t, status(http.StatusBadGateway), func(b *bed) {
		size := 0
		for i := range maxMessages + 10 {
			b.pushOf(fmt.Sprint(i), strings.Repeat("x", 300))
			if i%500 == 0 {
				time.Sleep(maxPause) // attempts
			}
		}
		b.sender.mu.Lock()
		for _, m := range b.queue {
			size += len(m.line.raw)
		}
		if size != b.size || size > maxQueued || len(b.queue) > maxMessages {
			t.Errorf("%d messages of %d bytes, counted as %d", len(b.queue), size, b.size)
		}
		b.sender.mu.Unlock()
		b.end(0)
		if lost := value(b.lost); lost != maxMessages+10 {
			t.Errorf("%v are lost", lost)
		}
	})
}

// One that refuses each second message finally has two lines a minute.
func TestRefusedMessagesDoNotFloodTheLog(t *testing.T) {
	answer := func(w http.ResponseWriter, i int) {
		if i%2 == 0 {
			w.WriteHeader(http.StatusBadRequest)
		}
	}
	inBed(t, answer, func(b *bed) {
		for range 300 {
			b.push(2)
			time.Sleep(time.Second)
		}
		if n := strings.Count(b.log.String(), "\n"); n != 10 || b.counts() != "300 300 300" {
			t.Errorf("%s, %d lines", b.counts(), n)
		}
	})
}
