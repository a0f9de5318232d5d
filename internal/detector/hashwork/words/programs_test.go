package words

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// build builds a package of this module as it is shipped, and returns its programs with their
// contents.
func build(t *testing.T, pkg string) map[string][]byte {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs, skipped under -short")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-tags", "grpcnotrace", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", dir+"/", pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	programs := map[string][]byte{}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		t.Fatalf("building %s: %d programs, %v", pkg, len(entries), err)
	}
	for _, e := range entries {
		if programs[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return programs
}

func TestAProgramWithTheListHasNoWordOfIt(t *testing.T) {
	for name, content := range build(t, "./testdata/program") {
		if s := count(content); s.Counts() != (Counts{}) {
			t.Errorf("%s: %+v %q", name, s.Counts(), s.Found())
		}
	}
}

// signatures are what public rules of scanners look for in miners, in any case.
func signatures() []string {
	return []string{
		// Schemes and protocols of pools.
		"stratum+tcp://", "stratum+ssl://", "stratum+tls://", "stratum+", "stratum://", "stratum2+tcp", "daemon+http",
		"mining.subscribe", "mining.authorize", "mining.notify", "mining.submit", "mining.set_difficulty", "mining.configure",
		"eth_submitLogin", "eth_getWork", "eth_submitHashrate", "getblocktemplate", "get_block_template", "job_id",
		// Options.
		"donate-level", "donate-over-proxy", "--cpu-priority", "cpu-max-threads-hint", "max-cpu-usage", "--rig-id", "--nicehash", "nicehash",
		"--coin=", "--coin monero", "--randomx-", "pool_wallet", "self-select", "--algo=", "--userpass",
		// Programs and their authors.
		"xmrig", "xmr-stak", "minerd", "cpuminer", "cgminer", "bfgminer", "ccminer", "ethminer", "nbminer", "lolminer", "phoenixminer",
		"nanominer", "srbminer", "teamredminer", "claymore", "kinsing", "kdevtmpfsi", "watchbog", "sysrv",
		// Algorithms.
		"cryptonight", "randomx", "rx/0", "cn/r", "cn-lite", "cn-heavy", "argon2/chukwa", "kawpow", "daggerhashimoto", "etchash", "ghostrider", "astrobwt",
		"autolykos", "equihash", "yespower", "verushash", "neoscrypt", "lyra2",
		// Pools.
		"minexmr", "supportxmr", "moneroocean", "nanopool", "2miners", "f2pool", "hashvault", "c3pool", "minergate", "dwarfpool",
		"slushpool", "ethermine", "herominers", "unmineable", "pool.minexmr.com", "crypto-pool",
	}
}

// The agent looks for the words of miners, and must not be taken for one: by itself, by
// another agent, or by a scanner.
func TestOurProgramsHaveNoWordsOfMiners(t *testing.T) {
	for name, content := range build(t, "../../../../cmd/...") {
		const mostProtocol = 2 // as other programs
		s := count(content)
		t.Logf("%s: %+v %q", name, s.Counts(), s.Found())
		if s.Counts().Protocol > mostProtocol || s.Counts().Miner() {
			t.Errorf("%s: %+v %q", name, s.Counts(), s.Found())
		}
		content = bytes.ToLower(content)
		for _, signature := range signatures() {
			if i := bytes.Index(content, bytes.ToLower([]byte(signature))); i >= 0 {
				t.Errorf("%s contains %q: %q", name, signature, content[max(0, i-20):min(len(content), i+40)])
			}
		}
	}
}
