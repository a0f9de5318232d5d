package container

import "testing"

func BenchmarkParse(b *testing.B) {
	path := expand("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u_i_d}.slice/cri-containerd-{A}.scope")
	for b.Loop() {
		if _, ok := Parse(path); !ok {
			b.Fatal("no container")
		}
	}
}

func BenchmarkCached(b *testing.B) {
	r := NewResolver(Options{})
	defer r.Close()
	path := expand("/kubepods/burstable/pod{uid}/{A}")
	r.outer.known.put(uid+"/"+idA, &Container{ID: idA}, 100)
	for b.Loop() {
		if _, ok := r.Cached(path); !ok {
			b.Fatal("not known")
		}
	}
}
