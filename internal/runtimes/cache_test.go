package runtimes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/cryptnono/cryptnono/internal/container"
)

func TestAnUnknownContainerIsLookedUpAgainWithExponentialBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10, 1<<20, 10)
		defer c.close()
		began := time.Now()
		var queries []time.Duration
		for time.Since(began) < time.Minute {
			_, err := c.lookup(t.Context(), "a", func(context.Context) (*container.Container, error) {
				queries = append(queries, time.Since(began))
				return nil, container.ErrUnknown
			})
			if !errors.Is(err, container.ErrUnknown) {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
		}
		if len(queries) < 10 || len(queries) > 20 {
			t.Errorf("%d queries in a minute: %v", len(queries), queries)
		}
		for i := 1; i < len(queries); i++ {
			limit := min(max(2*queries[i-1], queries[i-1]+minUnknown), queries[i-1]+maxUnknown)
			if queries[i] > limit+10*time.Millisecond {
				t.Errorf("after the query at %v the next is at %v", queries[i-1], queries[i])
			}
		}
	})
}

func TestALookupThatFailsIsRetriedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10, 1<<20, 10)
		defer c.close()
		queries := 0
		for range 4 * 60 {
			_, err := c.lookup(t.Context(), "a", func(context.Context) (*container.Container, error) {
				queries++
				return nil, &lookupError{context.DeadlineExceeded}
			})
			if !errors.Is(err, container.ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			time.Sleep(errorRetry)
		}
		if queries != 4*60 {
			t.Errorf("%d queries in a minute", queries)
		}
	})
}

func TestTheLeastRecentlyUsedEntryIsEvicted(t *testing.T) {
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
		t.Errorf("a large entry: got %v, %v, %d entries, %d bytes", got, ok, l.len(), l.used)
	}
	l.put("huge", 5, 101)
	if l.len() != 0 || l.used != 0 || len(l.byKey) != 0 {
		t.Errorf("an entry that does not fit: %d entries, %d bytes", l.len(), l.used)
	}
}

func TestTheDataOfARuntimeIsBounded(t *testing.T) {
	long := strings.Repeat("é", 5000)
	labels := map[string]string{long: "x", "a" + long + long: "x", "long": long, podLabel: "pod", namespaceKey: "binder"}
	for i := range 1000 {
		labels[fmt.Sprintf("a%03d", i)] = "x"
	}
	c := bounded(container.Container{Name: long, Image: "x" + long, Pod: "pod\xff", Labels: labels})
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
	c = bounded(container.Container{Labels: labels})
	if n := size(c); n > maxAllLabels+maxLabels*64+1024 || c.Labels[podLabel] != "pod" {
		t.Errorf("got %d bytes, %d labels", n, len(c.Labels))
	}
}
