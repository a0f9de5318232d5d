package firstbytes

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

// A Hasher makes the tables of the kernel program. Texts are hashed with a factor, from which
// nobody who does not know it can make two texts with the same hash.
type Hasher struct{ power [256]uint64 }

// NewHasher returns a hasher with a secret, which must be random.
func NewHasher(secret uint64) *Hasher {
	h := &Hasher{}
	factor := secret&^7 | 5 // no factor has a longer period
	h.power[0] = 1
	for i := 1; i < len(h.power); i++ {
		h.power[i] = h.power[i-1] * factor
	}
	return h
}

func (h *Hasher) hash(begin uint64, text string) uint64 {
	for _, c := range []byte(text) {
		begin = begin*h.power[1] + uint64(c) + 1
	}
	return begin
}

// The longest name in bytes.
const maxName = 253

// NameKey returns the key of a name in the kernel's list, which is in lower case and without a
// dot at its end. The error says why it is no name.
func (h *Hasher) NameKey(name string) (uint64, error) {
	if err := CheckName(name); err != nil {
		return 0, err
	}
	return h.hash(0, name) ^ uint64(len(name))<<56, nil
}

// CheckName returns an error if a text is not a name as lists have it: labels of letters in
// lower case, digits, - and _, of which the last does not begin with a digit.
func CheckName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%.50q is not a name of 1 to %d bytes", name, maxName)
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return fmt.Errorf("%.50q is not a name: %.50q is not a label in lower case", name, label)
		}
	}
	if last := labels[len(labels)-1]; last[0] >= '0' && last[0] <= '9' {
		return fmt.Errorf("%.50q is an address and not a name", name)
	}
	return nil
}

// Prepare sets the variables of an object that has *.bpf.h, and sizes its list of names.
func (h *Hasher) Prepare(spec *ebpf.CollectionSpec, d Decides, names int) error {
	for name, value := range map[string]any{
		bpfVarPower: h.power, bpfVarDecidesPlain: uint32(d.Plain), bpfVarDecidesHttp: uint32(d.HTTP), bpfVarDecidesListed: uint32(d.Listed),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	spec.Maps[bpfMapNames].MaxEntries = uint32(max(names, 1))
	return nil
}

// batch is the number of names that are stored by one system call.
const batch = 4096

// Fill stores the words of stratum and a list of names in the maps of such an object.
func (h *Hasher) Fill(words, names *ebpf.Map, list map[string]Listed) error {
	for context, texts := range kernelWords() {
		for text, word := range texts {
			if err := words.Put(h.hash(uint64(context), text), word); err != nil {
				return fmt.Errorf("storing the word %q: %w", text, err)
			}
		}
	}
	keys, values := make([]uint64, 0, batch), make([]uint32, 0, batch)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		if _, err := names.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("storing names: %w", err)
		}
		keys, values = keys[:0], values[:0]
		return nil
	}
	for name, listed := range list {
		key, err := h.NameKey(name)
		if err != nil {
			return err
		}
		keys, values = append(keys, key), append(values, uint32(listed))
		if len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
