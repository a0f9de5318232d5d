package firstbytes

import (
	"bytes"
	"os"
	"testing"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

func TestTheProgramHasTheWordsOfStratum(t *testing.T) {
	want, err := scrambled.Pack(os.DirFS("."), "words.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(wordsFile, want) {
		t.Error("words.bin is not what words.txt gives: run go generate in this folder")
	}
}

// Each kind of words.txt has the words that it had when the kernel first looked for them, and
// no word is lost because its line is of an unknown kind.
func TestEachWordOfStratumIsOfAKnownKind(t *testing.T) {
	want := map[string]int{"mining": 18, "eth": 1, "work": 2, "template": 2, "job": 1}
	for kind, words := range stratum() {
		if len(words) != want[kind] {
			t.Errorf("%s: %q", kind, words)
		}
	}
	all := kernelWords()
	if m, p, k := len(all[bpfContextIS_METHOD]), len(all[bpfContextIS_PARAM]), len(all[bpfContextIS_KEY]); m != 2+23 || p != 3+4+1 || k != 7+15 {
		t.Errorf("%d methods, %d params and %d keys", m, p, k)
	}
}
