package runtimes

import (
	"testing"

	"github.com/cryptnono/cryptnono/internal/cgroup"
	"github.com/cryptnono/cryptnono/internal/container"
)

func BenchmarkCached(b *testing.B) {
	r := NewResolver(Options{})
	defer r.Close()
	ref := new(cgroup.Parser).Parse("/kubepods/burstable/pod" + uid + "/" + idA)
	r.cache.known.put(uid+"/"+idA, &container.Container{ID: idA}, 100)
	for b.Loop() {
		if _, ok := r.Cached(ref); !ok {
			b.Fatal("not known")
		}
	}
}
