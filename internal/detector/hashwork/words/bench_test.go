package words

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
	"github.com/cryptnono/cryptnono/internal/scrambled"
)

func BenchmarkSearch(b *testing.B) {
	for name, content := range benchContents(b) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				s := NewSearch()
				for p := content; len(p) > 0; p = p[min(len(p), 256<<10):] {
					_, _ = s.Write(p[:min(len(p), 256<<10)])
				}
			}
		})
	}
}

func BenchmarkNewSearch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		NewSearch()
	}
}

func BenchmarkNewTable(b *testing.B) {
	words, err := packed.Unpack(list)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		newTable(words)
	}
}

// benchContents has real programs, empty and random pages, and the worst that was thought of.
func benchContents(b *testing.B) map[string][]byte {
	const size = 8 << 20
	random := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(random)
	contents := map[string][]byte{"zero": make([]byte, size), "random": random}
	for _, program := range []string{"go", "gcc", "node"} {
		path, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if len(content) > 1<<20 { // it is no script that starts the program
			contents[program] = content
		}
	}
	contents["one word"] = bytes.Repeat([]byte("mining.subscribe"), size/16)
	contents["worst beginnings"] = worst(size)
	contents["busiest blocks"] = busiest(size)
	return contents
}

// worst returns content in which as many bytes as possible are compared in vain: the
// longest beginnings of words that are not those words, packed around a busy block.
func worst(size int) []byte {
	t := sharedTable()
	var best []byte
	most := 0.0
	for _, bucket := range t.anchors {
		for _, a := range bucket {
			plain := scrambled.Bytes(a.spelling)
			near := plain[:len(plain)-1]
			if len(near) < a.offset+window {
				near = plain // as short as the window
			}
			if n := float64(compared(bucket, near, a.offset)) / float64(len(near)); n > most {
				most, best = n, near
			}
		}
	}
	return bytes.Repeat(best, size/len(best))
}

// busiest returns content in which each two bytes are the end of a window, so that the
// search advances by one byte only, and in which most windows end so: it repeats the best
// of all cycles of up to five bytes.
func busiest(size int) []byte {
	t := sharedTable()
	var best, path []byte
	most := 0.0
	var extend func(first byte, anchors int)
	extend = func(first byte, anchors int) {
		last := path[len(path)-1]
		for next := range 256 {
			n := len(t.anchors[t.ending[blockAt([]byte{last, byte(next)}, 0)]])
			switch {
			case n == 0:
			case byte(next) == first:
				if mean := float64(anchors+n) / float64(len(path)); mean > most {
					most, best = mean, bytes.Clone(path)
				}
			case len(path) < 5:
				path = append(path, byte(next))
				extend(first, anchors+n)
				path = path[:len(path)-1]
			}
		}
	}
	for first := range 256 {
		path = append(path[:0], byte(first))
		extend(byte(first), 0)
	}
	return bytes.Repeat(best, size/len(best))
}

// compared returns how many bytes the anchors of a bucket compare, at most, if the text has
// the beginning of a spelling with its window at offset.
func compared(bucket []anchor, text []byte, offset int) int {
	n := 0
	for _, a := range bucket {
		n++
		plain := scrambled.Bytes(a.spelling)
		if at := offset - a.offset; at >= 0 && at < len(text) {
			for i := 0; i < len(plain) && at+i < len(text) && plain[i] == text[at+i]; i++ {
				n++
			}
		}
	}
	return n
}
