package packed

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

func TestTheListIsPackedAndUnpacked(t *testing.T) {
	words := []Word{
		{'p', []byte("name"), [][]byte{[]byte("spelling"), []byte("Spelling")}},
		{'c', []byte("other"), [][]byte{{1, 2, 3, 4, 5, 6, 0, 255}}},
	}
	got, err := Unpack(Pack(words))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range got {
		w.Name = scrambled.Bytes(w.Name)
		for i, s := range w.Spellings {
			w.Spellings[i] = scrambled.Bytes(s)
		}
		if bytes.Contains(Pack(words), w.Name) {
			t.Errorf("the packed list contains %q", w.Name)
		}
	}
	got[0].Name, got[1].Name = scrambled.Bytes(got[0].Name), scrambled.Bytes(got[1].Name)
	if !reflect.DeepEqual(got, words) {
		t.Errorf("unpacked: %q", got)
	}
}

func TestADamagedListIsAnError(t *testing.T) {
	whole := Pack([]Word{{'p', []byte("name"), [][]byte{[]byte("spelling"), []byte("Spelling")}}})
	for n := 1; n < len(whole); n++ {
		if words, err := Unpack(whole[:n]); err == nil {
			t.Errorf("%d bytes of the list: %q", n, words)
		}
	}
	if _, err := Unpack([]byte{'p', 0, 1, 1, 'x'}); err == nil {
		t.Error("a name of no bytes is accepted")
	}
	if _, err := Unpack(append([]byte{'p', MaxSpelling + 1}, make([]byte, 200)...)); err == nil {
		t.Error("a name that is too long is accepted")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(Pack([]Word{{'p', []byte("name"), [][]byte{[]byte("spelling")}}}))
	f.Fuzz(func(t *testing.T, list []byte) {
		if words, err := Unpack(list); err == nil && len(words) > len(list) {
			t.Errorf("%d words in %d bytes", len(words), len(list))
		}
	})
}
