package monero

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"

	"github.com/cryptnono/cryptnono/internal/detector"
)

func TestAKernelWithStacksOfAnotherSizeIsRefused(t *testing.T) {
	helpers := func(names ...string) *btf.Enum {
		e := &btf.Enum{Name: "bpf_func_id", Size: 4}
		for i, name := range names {
			e.Values = append(e.Values, btf.EnumValue{Name: name, Value: uint64(i)})
		}
		return e
	}
	old, young := helpers("BPF_FUNC_unspec", "BPF_FUNC_send_signal"), helpers("BPF_FUNC_unspec", "BPF_FUNC_task_pt_regs")
	kasan := &btf.Struct{Name: "kasan_cache", Size: 4, Members: []btf.Member{{Name: "n", Type: &btf.Int{Name: "int", Size: 4}}}}
	tests := []struct {
		name     string
		types    []btf.Type
		pageSize int
		ok       bool
	}{
		{"pages of 4 KiB before 5.15", []btf.Type{old}, 4 << 10, true},
		{"pages of 16 KiB before 5.15", []btf.Type{old}, 16 << 10, true},
		{"pages of 64 KiB before 5.15", []btf.Type{old}, 64 << 10, false},
		{"KASAN before 5.15", []btf.Type{old, kasan}, 4 << 10, false},
		{"pages of 64 KiB from 5.15 on", []btf.Type{young}, 64 << 10, true},
		{"KASAN from 5.15 on", []btf.Type{young, kasan}, 4 << 10, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := btf.NewBuilder(tt.types, nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := b.Marshal(nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			kernel, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			err = checkStackSize(kernel, tt.pageSize)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, detector.ErrUnsupported) {
				t.Errorf("got %v", err)
			}
		})
	}
}
