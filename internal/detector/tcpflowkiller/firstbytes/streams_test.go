package firstbytes

import (
	"bufio"
	"embed"
	"encoding/json"
	"testing"
)

//go:embed testdata/*.jsonl
var recordings embed.FS

// A recorded is a stream of testdata.
type recorded struct {
	Kind, Name, Want string
	DNS              bool
	Sends            [][]byte
}

func (r recorded) question() Question {
	if r.DNS {
		return UDPQuestion
	}
	return NoQuestion
}

func (r recorded) whole() (all []byte) {
	for _, s := range r.Sends {
		all = append(all, s...)
	}
	return all
}

// want returns what must be found, 0 for nothing.
func (r recorded) want() Finding {
	return map[string]Finding{
		"login": Login, "mining": Mining, "eth": Eth, "submit": Submit, "template": Template, "work": Work,
		"host": Host, "server": Server, "dns": Query,
	}[r.Want]
}

func load(t testing.TB, name string) (all []recorded) {
	t.Helper()
	f, err := recordings.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var r recorded
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if err := in.Err(); err != nil || len(all) == 0 {
		t.Fatal(err, len(all))
	}
	return all
}

// testNames are listed in all tests.
func testNames() map[string]Listed {
	return map[string]Listed{
		"minexmr.com":  NewListed(0, NameUsual),
		"nanopool.org": NewListed(1, NameUsual),
		"pool.example": NewListed(2, NameUsual),
		"refuse.test":  NewListed(3, NameRefuse),
		"kill.test":    NewListed(4, NameKill),
		"observe.test": NewListed(5, NameObserve),
	}
}

func lookup(name string) Listed { return testNames()[name] }

func allDecide() Decides { return Decides{Plain: Stratum, HTTP: Stratum, Listed: Stratum | Hello} }

func TestMinersAreFoundAndHonestOnesAreNot(t *testing.T) {
	for _, file := range []string{"mining.jsonl", "honest.jsonl"} {
		for _, r := range load(t, file) {
			a := Judge(r.whole(), r.question(), allDecide(), lookup)
			if want := r.want(); a.Found&want != want || want == 0 && a.Found != 0 {
				t.Errorf("%s: found %v, want %v", r.Name, a.Found, want)
			}
		}
	}
}

// What is known to get through costs a miner a pool that plays along (docs/network.md).
func TestWhatGetsThroughIsKnown(t *testing.T) {
	for _, r := range load(t, "evade.jsonl") {
		whole := r.whole()
		if a := Judge(whole[:min(len(whole), 16384)], r.question(), allDecide(), lookup); a.Found != 0 {
			t.Errorf("%s: found %v", r.Name, a.Found)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		name string
		want Listed
	}{
		{"minexmr.com", NewListed(0, NameUsual)},
		{"MineXMR.com.", NewListed(0, NameUsual)},
		{"a.b.c.d.e.f.g.h.i.j.minexmr.com", NewListed(0, NameUsual)},
		{"notminexmr.com", 0},
		{"minexmr.com.example.org", 0},
		{"minexmr.co", 0},
		{"com", 0},
		{".minexmr.com", NewListed(0, NameUsual)},
		{"..minexmr..com", NewListed(0, NameUsual)},
		{"", 0},
		{".", 0},
	} {
		head := "CONNECT " + c.name + ":3333 HTTP/1.1\r\n"
		if a := Judge([]byte(head), NoQuestion, allDecide(), lookup); a.Listed != c.want || a.Port != 3333 {
			t.Errorf("%q: listed as %v, port %d", c.name, a.Listed, a.Port)
		}
	}
}

func TestWhatIsNoNameIsRefused(t *testing.T) {
	h := NewHasher(1)
	for _, name := range []string{"", ".", "a..b", "UPPER.example", "a b", "1.2.3.4", "a.", "ä.example", string(make([]byte, 300))} {
		if _, err := h.NameKey(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if _, err := h.NameKey("xmr-eu1.nano_pool.org"); err != nil {
		t.Error(err)
	}
}
