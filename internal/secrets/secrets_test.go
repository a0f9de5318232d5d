package secrets

import (
	"strings"
	"testing"
)

// cases have NULs as |.
var cases = []struct{ in, want string }{
	// Options.
	{"x|--password=hunter2|-v", "x|--password=***|-v"},
	{"x|--password=two words|-v", "x|--password=***|-v"},
	{"x|--password|hunter2|-v", "x|--password|***|-v"},
	{"x|--password|two words", "x|--password|***"},
	{"x|--PASSWORD|hunter2", "x|--PASSWORD|***"},
	{"x|-password|hunter2", "x|-password|***"},
	{"x|--passwd=a=b&c", "x|--passwd=***"},
	{"x|--db-passphrase|a", "x|--db-passphrase|***"},
	{"x|--token|-abc", "x|--token|***"},
	{"x|--client_secret=a", "x|--client_secret=***"},
	{"x|--api-key|a|--apikey=b|--api_key=c|--access-key|d|--secretKey=e|--authkey=f", "x|--api-key|***|--apikey=***|--api_key=***|--access-key|***|--secretKey=***|--authkey=***"},
	{"java|-Dspring.datasource.password=a b|-jar", "java|-Dspring.datasource.password=***|-jar"},
	{"--password=at the beginning", "--password=***"},
	{"x|--token", "x|--token"},
	{"x|--token=", "x|--token="},
	{"x|--token||y", "x|--token||y"},
	{"x|--password|--user|me", "x|--password|--user|me"},
	{"x|--password|-u|me", "x|--password|-u|me"},
	{"x|--token|--token|a", "x|--token|--token|***"},
	{"x|--token|a|--password=b", "x|--token|***|--password=***"},
	// In a text with spaces.
	{"sh|-c|x --password=a -v", "sh|-c|x --password=*** -v"},
	{"sh|-c|x --password a -v", "sh|-c|x --password *** -v"},
	{`sh|-c|x --password "a b" -v`, "sh|-c|x --password *** -v"},
	{`sh|-c|x --token='a b' -v`, "sh|-c|x --token=*** -v"},
	{`sh|-c|x --token="a\"b" -v`, "sh|-c|x --token=*** -v"},
	{"sh|-c|x --token -v --secret --", "sh|-c|x --token -v --secret --"},
	{"sh|-c|PASSWORD=a ./x -o pool -u WALLET -p x", "sh|-c|PASSWORD=*** ./x -o pool -u WALLET -p x"},
	{"env|PGPASSWORD=a|API_TOKEN=b|psql", "env|PGPASSWORD=***|API_TOKEN=***|psql"},
	{`curl|-d|{"user":"me","password": "a b","x":1}`, `curl|-d|{"user":"me","password": ***,"x":1}`},
	{"curl|-d|user=me&password=a&x=1", "curl|-d|user=me&password=***&x=1"},
	// Headers.
	{"curl|-H|Authorization: Bearer a|https://host", "curl|-H|Authorization: ***|https://host"},
	{`curl|-H|authorization: Digest username="a", response="b"|-v`, "curl|-H|authorization: ***|-v"},
	{"curl|-HAuthorization: Basic a|-v", "curl|-HAuthorization: ***|-v"},
	{"wget|--header=Proxy-Authorization:Basic a|-v", "wget|--header=Proxy-Authorization:***|-v"},
	{`sh|-c|curl -H "Authorization: Bearer a" https://host`, `sh|-c|curl -H "Authorization: ***" https://host`},
	{`curl|-d|{"Authorization":"Bearer a", "x":1}`, `curl|-d|{"Authorization":***, "x":1}`},
	{"curl|-H|X-Api-Key: a|-H|PRIVATE-TOKEN: b|-H|Cookie: session=c; d=e", "curl|-H|X-Api-Key: ***|-H|PRIVATE-TOKEN: ***|-H|Cookie: ***"},
	{`python3|-c|get(u, headers={'Authorization': 'Bearer a', 'x': 1})`, `python3|-c|get(u, headers={'Authorization': ***, 'x': 1})`},
	// URLs.
	{"git|clone|https://me:a@host/x", "git|clone|https://***@host/x"},
	{"git|clone|https://ghp_a@host/x", "git|clone|https://***@host/x"},
	{"git|clone|git+https://me:a@b@host/x", "git|clone|git+https://***@host/x"},
	{"psql|postgres://me:a@host/x", "psql|postgres://me:***@host/x"},
	{"redis-cli|-u|redis://:a@host", "redis-cli|-u|redis://:***@host"},
	{"x|-P|stratum1+tcp://WALLET.rig:x@pool:3333", "x|-P|stratum1+tcp://WALLET.rig:***@pool:3333"},
	{"x|--url=https://me:a@host/?token=b&c=d#e", "x|--url=https://***@host/?token=***&c=d#e"},
	{"sh|-c|curl 'https://me:a@host' ftp://b:c@d", "sh|-c|curl 'https://***@host' ftp://b:***@d"},
}

func TestSecretsAreHidden(t *testing.T) {
	for _, c := range cases {
		nul := strings.NewReplacer("|", "\x00")
		in, want := nul.Replace(c.in), nul.Replace(c.want)
		for _, end := range []string{"", "\x00"} {
			if got := string(Hide([]byte(in+end), false)); got != want+end {
				t.Errorf("%s: got %q", c.in, got)
			}
		}
	}
}

func TestOtherTextStays(t *testing.T) {
	for _, text := range []string{
		"",
		"xmrig|-o|stratum+tcp://pool.example:3333|-u|WALLET.rig|-p|x|--pass|x|--pass=x|--user|WALLET",
		"ssh|ssh://git@host/x|git@host:x|user:group|-u|1000:1000",
		"x|--max-tokens=5|--tokenizer|t|--password-file=/run/p|--token-ttl|5m|--secretary=x|--keyfile|k",
		"git|commit|-m|fix the token of api:v1 and the password",
		"docker|run|-v|secret:/run/secret:ro|registry:5000/api-token:v1",
		"x|https://host:3333/a@b|stratum+ssl://pool.example:443|http://host/?q=a:b@c",
		"x|authorization|cookie|--cookie-jar|c",
	} {
		if got := string(Hide([]byte(strings.ReplaceAll(text, "|", "\x00")), false)); got != strings.ReplaceAll(text, "|", "\x00") {
			t.Errorf("%s: got %q", text, got)
		}
	}
}

func TestASecretThatIsCutIsHidden(t *testing.T) {
	for in, want := range map[string]string{
		"git|https://me:hunt":        "git|https://***",
		"git|https://ghp_a":          "git|https://***",
		"x|stratum+tcp://WALLET:hun": "x|stratum+tcp://***",
		"git|https://host/x":         "git|https://host/x",
		"x|--password=hun":           "x|--password=***",
		"curl|-H|Authorization: Bea": "curl|-H|Authorization: ***",
	} {
		if got := string(Hide([]byte(strings.ReplaceAll(in, "|", "\x00")), true)); got != strings.ReplaceAll(want, "|", "\x00") {
			t.Errorf("%s: got %q", in, got)
		}
	}
}

func TestSecretsInVariablesAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"JUPYTERHUB_API_TOKEN=a":            Hidden,
		"DB_PASSWORD=a b":                   Hidden,
		"DB_PASSWORD=":                      "",
		"JUPYTERHUB_USER=me":                "me",
		"BINDER_REF_URL=https://a@host/x/y": "https://***@host/x/y",
		"TOKENS=a":                          "a",
	} {
		name, value, _ := strings.Cut(in, "=")
		if got := string(HideVariable(name, []byte(value), false)); got != want {
			t.Errorf("%s: got %q", in, got)
		}
	}
}

func BenchmarkHide(b *testing.B) {
	for name, text := range map[string]string{
		"words":   strings.Repeat("/usr/bin/python3 -c x\x00", 186),
		"secrets": strings.Repeat("--password\x00a\x00", 315),
		"dashes":  strings.Repeat("-", 4096),
		"short":   "/usr/bin/python3\x00-m\x00pip\x00install\x00--user\x00numpy\x00",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				Hide([]byte(text), true)
			}
		})
	}
}
