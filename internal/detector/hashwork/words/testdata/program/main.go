// Program is a program that has the list of words and nothing else of the agent.
package main

import (
	"io"
	"os"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/words"
)

func main() {
	s := words.NewSearch()
	if _, err := io.Copy(s, os.Stdin); err != nil || s.Counts().Miner() {
		os.Exit(1)
	}
}
