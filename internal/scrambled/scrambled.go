// Package scrambled is the form in which the program carries the words of miners that it looks
// for: its rules, and the words of detectors. They do not stand there in plain bytes, so
// neither the agent nor another program that searches for miners takes the agent for one. It
// keeps nothing secret.
package scrambled

import (
	"encoding/json"
	"fmt"
	"io/fs"
)

// Key returns the byte that is combined, by exclusive or, with byte i of a text. It differs
// from byte to byte, because scanners also search for strings that were combined with one byte
// (the modifier xor of YARA). It repeats after 256 bytes.
func Key(i int) byte { return byte(i*i*5 + i*107 + 0x9b) }

// Bytes returns scrambled text in plain, or plain text scrambled.
func Bytes(text []byte) []byte {
	other := make([]byte, len(text))
	for i, c := range text {
		other[i] = c ^ Key(i)
	}
	return other
}

// Pack returns the files that match a pattern of fs.Glob as one scrambled text. The same files
// give the same text. It is not compressed: that would be another text with another version of
// Go, and hides nothing from scanners that look into archives.
func Pack(files fs.FS, pattern string) ([]byte, error) {
	names, err := fs.Glob(files, pattern)
	if err == nil && len(names) == 0 {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", pattern, err)
	}
	texts := map[string]string{}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("packing: %w", err)
		}
		texts[name] = string(text)
	}
	packed, err := json.Marshal(texts) // sorted by name
	return Bytes(packed), err
}

// Unpack returns the texts of packed files, which must be UTF-8, by name. It panics if packed is
// damaged, since it is a part of the program, and tests read it.
func Unpack(packed []byte) map[string]string {
	var texts map[string]string
	if err := json.Unmarshal(Bytes(packed), &texts); err != nil {
		panic(fmt.Errorf("reading a file of the program: %w", err))
	}
	return texts
}
