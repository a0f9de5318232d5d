// Package words finds what shows that a file is a program that mines: words of the
// protocols of pools, names of the algorithms that coins use, and constants of hash
// functions that few other programs compute.
//
// words.txt is the list. The program carries it scrambled, as words.bin, and keeps it
// scrambled in memory.
package words

import "cmp"

//go:generate go run ./generate words.txt words.bin

// Thresholds of Counts.Miner. Of 5,071 programs and libraries of Debian and others, those
// that do not mine have at most 2 words of protocols. Nodes and wallets of Monero have the 2,
// and of the rest as much as a miner. Miners with stratum have 5 to 18 words of protocols.
// Those that mine with one algorithm have few words of the rest, but 9 and more of protocols:
// rhminer 9, decred's gominer 10, ethminer 14, cgminer 17.
const (
	MinProtocol      = 4
	MinAlgorithm     = 2
	MinConstant      = 4
	MinProtocolAlone = 8
)

// Counts are the numbers of different words found, by group. A word that occurs often, or
// in several spellings, counts once.
type Counts struct {
	Protocol  int `json:"protocol_words"`
	Algorithm int `json:"algorithm_words"`
	Constant  int `json:"constants"`
}

// Miner reports whether a file with these counts is a program that mines. It has at least
// MinProtocol words of protocols, and MinAlgorithm names of algorithms or MinConstant
// constants. Or it has at least MinProtocolAlone words of protocols, whatever else it has.
func (c Counts) Miner() bool {
	return c.Protocol >= MinProtocol && (c.Algorithm >= MinAlgorithm || c.Constant >= MinConstant) ||
		c.Protocol >= MinProtocolAlone
}

// Compare compares how near the counts are to those of a miner, as cmp.Compare does.
func (c Counts) Compare(other Counts) int {
	return cmp.Or(cmp.Compare(c.near(), other.near()), cmp.Compare(c.Protocol, other.Protocol))
}

// near counts in parts of the thresholds, to which a miner comes up in both.
func (c Counts) near() int {
	const rest = MinAlgorithm * MinConstant // of one of the two
	if c.Miner() {
		return MinProtocol*MinAlgorithm + rest
	}
	return min(c.Protocol, MinProtocol)*MinAlgorithm + min(max(c.Algorithm*MinConstant, c.Constant*MinAlgorithm), rest)
}
