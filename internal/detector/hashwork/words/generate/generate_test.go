package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words/packed"
)

func TestThePackedListIsUpToDate(t *testing.T) {
	text, err := os.ReadFile("../words.txt")
	if err != nil {
		t.Fatal(err)
	}
	words, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(words) < 50 {
		t.Errorf("only %d words", len(words))
	}
	list, err := os.ReadFile("../words.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed.Pack(words), list) {
		t.Error("words.bin is not what words.txt gives: run go generate in this folder's parent")
	}
}

func TestParse(t *testing.T) {
	words, err := parse("# a comment\n\nprotocol a b \"" + `c d \"#\x00` + "\" 0102030405ff # \"and a comment\"\n")
	if err == nil {
		t.Fatal("b is not hexadecimal, but accepted: ", words)
	}
	words, err = parse("# a comment\n\n  constant a \"" + `c d \"#\x00` + "\" 0102030405ff # \"and a comment\"\n")
	if err != nil {
		t.Fatal(err)
	}
	w := words[0]
	if len(words) != 1 || w.Group != 'c' || string(w.Name) != "a" || len(w.Spellings) != 2 ||
		string(w.Spellings[0]) != "c d \"#\x00" || string(w.Spellings[1]) != "\x01\x02\x03\x04\x05\xff" {
		t.Errorf("parsed: %q", words)
	}
}

func TestAWrongLineIsAnErrorWithItsNumber(t *testing.T) {
	for name, line := range map[string]string{
		"another group":         `talk a "hashrate"`,
		"no name":               `protocol`,
		"a long name":           `protocol ` + strings.Repeat("a", 33) + ` "spelling"`,
		"no spelling":           `protocol a`,
		"only a comment":        `protocol a # "spelling"`,
		"a short spelling":      `protocol a "short"`,
		"a long spelling":       `protocol a "` + strings.Repeat("a", 33) + `"`,
		"two zero bytes":        `protocol a "zero\x00\x00bytes"`,
		"no hexadecimal digits": `protocol a 01020304050x`,
		"an open literal":       `protocol a "spelling`,
		"a second word":         `protocol before "spelling"`,
	} {
		_, err := parse("protocol before \"before\"\n" + line)
		if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
