package container

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"
)

func TestAnUnknownContainerIsAskedForAgainAsLongAfterAsItWasUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(10, 1<<20, 10)
		defer m.close()
		began := time.Now()
		var asked []time.Duration
		for time.Since(began) < time.Minute {
			_, err := m.lookup(t.Context(), "a", func(context.Context) (*Container, error) {
				asked = append(asked, time.Since(began))
				return nil, ErrUnknown
			})
			if !errors.Is(err, ErrUnknown) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if len(asked) < 10 || len(asked) > 20 {
			t.Errorf("asked %d times in a minute: %v", len(asked), asked)
		}
		for i := 1; i < len(asked); i++ {
			limit := min(max(2*asked[i-1], asked[i-1]+minUnknown), asked[i-1]+maxUnknown)
			if asked[i] > limit+10*time.Millisecond {
				t.Errorf("after %v it was asked for at %v only", asked[i-1], asked[i])
			}
		}
	})
}

func TestAQuestionWithoutAnAnswerIsRepeatedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(10, 1<<20, 10)
		defer m.close()
		asked := 0
		for range 4 * 60 {
			_, err := m.lookup(t.Context(), "a", func(context.Context) (*Container, error) {
				asked++
				return nil, &failure{context.DeadlineExceeded}
			})
			if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			time.Sleep(afterFailure)
		}
		if asked != 4*60 {
			t.Errorf("asked %d times in a minute", asked)
		}
	})
}

func TestWhatWasUsedLeastLatelyIsForgotten(t *testing.T) {
	l := newLRU[int](3, 100)
	for i := range 3 {
		l.put(fmt.Sprint(i), i, 10)
	}
	l.get("0")
	l.put("3", 3, 10)
	for key, want := range map[string]bool{"0": true, "1": false, "2": true, "3": true} {
		if _, ok := l.get(key); ok != want {
			t.Errorf("%s: got %v", key, ok)
		}
	}
	l.put("0", 4, 90)
	if got, ok := l.get("0"); !ok || got != 4 || l.len() != 2 || l.used != 100 {
		t.Errorf("a large one: got %v, %v, %d entries, %d bytes", got, ok, l.len(), l.used)
	}
	l.put("huge", 5, 101)
	if l.len() != 0 || l.used != 0 || len(l.byKey) != 0 {
		t.Errorf("one that does not fit: %d entries, %d bytes", l.len(), l.used)
	}
}

func TestWhatARuntimeSaysIsBounded(t *testing.T) {
	long := strings.Repeat("é", 5000)
	labels := map[string]string{long: "x", "a" + long + long: "x", "long": long, podLabel: "pod", namespaceKey: "binder"}
	for i := range 1000 {
		labels[fmt.Sprintf("a%03d", i)] = "x"
	}
	c := Container{Name: long, Image: "x" + long, Pod: "pod\xff", Labels: labels}.bounded()
	for _, text := range []string{c.Name, c.Image} {
		if len(text) > maxTextBytes || !strings.HasSuffix(text, "é…") || !utf8.ValidString(text) {
			t.Errorf("got %d bytes, ending in %q", len(text), text[len(text)-8:])
		}
	}
	if len(c.Labels) != maxLabels || c.Labels[podLabel] != "pod" || c.Labels[namespaceKey] != "binder" || c.Labels["a000"] != "x" {
		t.Errorf("got %d labels: %v", len(c.Labels), c.Labels)
	}
	if _, ok := c.Labels[long]; ok {
		t.Error("a long key was kept")
	}
	for i := range 1000 {
		labels[fmt.Sprintf("a%03d", i)] = long
	}
	c = Container{Labels: labels}.bounded()
	if size := c.size(); size > maxAllLabels+maxLabels*64+1024 || c.Labels[podLabel] != "pod" {
		t.Errorf("got %d bytes, %d labels", size, len(c.Labels))
	}
}
