// Package packed is the form in which the program carries the words that package words
// searches for. No word stands there in plain bytes, so neither the detector nor another
// program that searches for miners takes the agent for one.
package packed

import (
	"errors"
	"fmt"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

// MaxSpelling is the length in bytes of the longest spelling and of the longest name.
const MaxSpelling = 32

// A Word is one thing that is counted, however it is spelled. Name and Spellings are
// scrambled in what Unpack returns, and plain in what Pack takes.
type Word struct {
	Group     byte
	Name      []byte
	Spellings [][]byte
}

// Pack returns the words in the packed form: for each word the group, the name, the number
// of spellings and the spellings. A length is one byte.
func Pack(words []Word) []byte {
	var out []byte
	field := func(text []byte) {
		out = append(out, byte(len(text)))
		out = append(out, scrambled.Bytes(text)...)
	}
	for _, w := range words {
		out = append(out, w.Group)
		field(w.Name)
		out = append(out, byte(len(w.Spellings)))
		for _, s := range w.Spellings {
			field(s)
		}
	}
	return out
}

var errShort = errors.New("the packed list ends within a word")

// Unpack returns the words of a packed list, which it refers to. They remain scrambled.
func Unpack(list []byte) ([]Word, error) {
	var words []Word
	number := func() (n byte, err error) {
		if len(list) == 0 {
			return 0, errShort
		}
		n, list = list[0], list[1:]
		return n, nil
	}
	field := func() (text []byte, err error) {
		n, err := number()
		switch {
		case err != nil:
			return nil, err
		case int(n) > len(list):
			return nil, errShort
		case n == 0 || n > MaxSpelling:
			return nil, fmt.Errorf("a text of %d bytes in the packed list", n)
		}
		text, list = list[:n:n], list[n:]
		return text, nil
	}
	for len(list) > 0 {
		var w Word
		var n byte
		var err error
		if w.Group, err = number(); err != nil {
			return nil, err
		}
		if w.Name, err = field(); err != nil {
			return nil, err
		}
		if n, err = number(); err != nil {
			return nil, err
		}
		for range n {
			s, err := field()
			if err != nil {
				return nil, err
			}
			w.Spellings = append(w.Spellings, s)
		}
		words = append(words, w)
	}
	return words, nil
}
