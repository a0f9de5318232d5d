// Package kernelbtf has the types of the running kernel (BTF).
package kernelbtf

import "github.com/cilium/ebpf/btf"

// Cache reads the types when they are first needed, and keeps them: to read them takes some 30 ms of
// CPU time, and each object that is loaded needs them. It may be used concurrently.
//
//nolint:gochecknoglobals // a machine has one kernel
var Cache = btf.NewCache()
