module github.com/cryptnono/cryptnono/test/kubernetes

go 1.26.0

replace github.com/cryptnono/cryptnono => ../..

require (
	github.com/cilium/ebpf v0.22.0
	github.com/cryptnono/cryptnono v0.0.0-00010101000000-000000000000
	golang.org/x/sys v0.49.0
)
