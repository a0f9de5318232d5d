package firstbytes

import (
	_ "embed" // for words.bin
	"strings"
	"sync"

	"github.com/cryptnono/cryptnono/internal/scrambled"
)

//go:generate go run ../../../scrambled/generate words.bin words.txt

// wordsFile is words.txt. The program carries it scrambled, so that it has no words of miners.
//
//go:embed words.bin
var wordsFile []byte

// loginParams are the params beside login of one who mines.
var loginParams = [...]string{"pass", "agent", "algo", "rigid"} //nolint:gochecknoglobals // read only

// callKeys are the keys of a call that clients of pools send. Those of Iron Fish have a body and no
// params.
var callKeys = [...]string{"method", "params", "id", "body", "jsonrpc", "worker", "error"} //nolint:gochecknoglobals // read only

// logKeys are keys that shippers of logs add to what was logged, and no client of a pool has.
var logKeys = [...]string{ //nolint:gochecknoglobals // read only
	"date", "time", "timestamp", "@timestamp", "ts", "level", "severity", "stream", "log", "message", "msg", "host", "hostname",
	"tag", "kubernetes",
}

// stratum returns the words of words.txt by their kind. Callers must not change them.
var stratum = sync.OnceValue(func() map[string][]string { //nolint:gochecknoglobals // set once
	words := map[string][]string{}
	for line := range strings.Lines(scrambled.Unpack(wordsFile)["words.txt"]) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] != "#" {
			words[fields[0]] = append(words[fields[0]], fields[1:]...)
		}
	}
	return words
})

// kernelWords returns the words by their context and text, in lower case.
func kernelWords() map[bpfContext]map[string]uint32 {
	methods := map[string]uint32{
		"login":  uint32(bpfWordMETHOD_LOGIN),
		"submit": uint32(bpfWordMETHOD_SUBMIT),
	}
	params := map[string]uint32{
		"login":          uint32(bpfWordPARAM_LOGIN),
		"nonce":          uint32(bpfWordPARAM_NONCE),
		"wallet_address": uint32(bpfWordPARAM_WALLET),
	}
	for _, p := range loginParams {
		params[p] = uint32(bpfWordPARAM_MINER)
	}
	add := func(to map[string]uint32, kind string, word uint32) {
		for _, text := range stratum()[kind] {
			to[text] = word
		}
	}
	add(methods, "mining", uint32(bpfWordMETHOD_MINING))
	add(methods, "eth", uint32(bpfWordMETHOD_ETH))
	add(methods, "work", uint32(bpfWordMETHOD_WORK))
	add(methods, "template", uint32(bpfWordMETHOD_TEMPLATE))
	add(params, "job", uint32(bpfWordPARAM_JOB))
	keys := map[string]uint32{}
	for _, k := range callKeys {
		keys[k] = uint32(bpfKeyKEY_USUAL)
	}
	for _, k := range logKeys {
		keys[k] = uint32(bpfKeyKEY_OF_NO_CALL)
	}
	keys["method"] = uint32(bpfKeyKEY_METHOD)
	keys["params"] = uint32(bpfKeyKEY_PARAMS)
	keys["body"] = uint32(bpfKeyKEY_BODY)
	keys["id"] = uint32(bpfKeyKEY_ID)
	return map[bpfContext]map[string]uint32{
		bpfContextIS_KEY:    keys,
		bpfContextIS_METHOD: methods,
		bpfContextIS_PARAM:  params,
	}
}
