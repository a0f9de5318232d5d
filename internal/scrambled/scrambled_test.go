package scrambled

import (
	"bytes"
	"maps"
	"testing"
	"testing/fstest"
)

func files() fstest.MapFS {
	return fstest.MapFS{
		"a/2.txt": {Data: []byte("the <second> text\n")},
		"a/1.txt": {Data: bytes.Repeat([]byte("the first text "), 1000)},
		"a/3.go":  {Data: []byte("no text")},
	}
}

func TestFilesArePackedAndUnpacked(t *testing.T) {
	packed, err := Pack(files(), "a/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := Unpack(packed)
	want := map[string]string{"a/1.txt": string(files()["a/1.txt"].Data), "a/2.txt": "the <second> text\n"}
	if !maps.Equal(got, want) {
		t.Errorf("unpacked: %q", got)
	}
}

func TestTheSameFilesGiveTheSameText(t *testing.T) {
	a, err := Pack(files(), "a/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if b, err := Pack(files(), "a/*.txt"); err != nil || !bytes.Equal(a, b) {
			t.Fatalf("two packed texts of the same files differ, %v", err)
		}
	}
}

func TestAPatternWithoutFilesIsAnError(t *testing.T) {
	if _, err := Pack(files(), "b/*.txt"); err == nil {
		t.Error("no files are packed")
	}
}

// Scanners search for plain text, and for text that was combined with one byte.
func TestNoPartOfATextStaysVisible(t *testing.T) {
	const part = 5
	packed, err := Pack(files(), "a/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"the first text ", "second> text", "a/1.txt"} {
		for i := range len(text) - part + 1 {
			for key := range 256 {
				changed := []byte(text[i : i+part])
				for k := range changed {
					changed[k] ^= byte(key)
				}
				if bytes.Contains(packed, changed) {
					t.Errorf("the packed text contains %q, combined with %#x", text[i:i+part], key)
				}
			}
		}
	}
}

func TestADamagedTextIsNotRead(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("it is read")
		}
	}()
	Unpack([]byte("damaged"))
}
