package cgroup

import "testing"

func BenchmarkParse(b *testing.B) {
	path := expand("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u_i_d}.slice/cri-containerd-{A}.scope")
	for b.Loop() {
		if !new(Parser).Parse(path).Contained() {
			b.Fatal("no container")
		}
	}
}
