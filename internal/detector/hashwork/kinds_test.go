package hashwork

// A kind is a program other than a miner, at work.
type kind struct {
	name     string
	packages string // of Debian 13, to run there; those of this machine if empty: scripts/install-deps
	// script is for sh, with a directory of its own. It computes until it is killed, or ends and is
	// started again.
	script string
	soak   bool // only with SOAK: more than 60 MB are to be downloaded for it
	// observed is true for what does the same as a miner: it is observed, but must not be killed.
	observed bool
}

// prelude is the beginning of each script.
const prelude = `set -e
PATH=/usr/local/go/bin:/usr/local/bin:/usr/bin:/usr/sbin:/usr/games:/bin
HOME=$PWD; LC_ALL=C
LD_LIBRARY_PATH=$(echo /usr/lib/*-linux-gnu/blas):$(echo /usr/lib/*-linux-gnu/lapack)
export PATH HOME LC_ALL LD_LIBRARY_PATH
forever() { while :; do "$@"; done; }
# Programs and libraries: so many bytes, the same each time.
data() { cat /usr/lib/*-linux-gnu/lib[c-s]*.so* | head -c "$1"; }
exec </dev/null
`

// kinds are those of `make test` by turns, eight a day. Those that are nearest to the rules by what
// they compute are not next to each other, nor are large downloads.
var kinds = []kind{
	// Wallets and benchmarks of ciphers, hashes and memory.
	{name: "Monero's wallet", packages: "monero", script: `n=0; while n=$((n+1)); do
		monero-wallet-cli --offline --generate-new-wallet w$n --password x --mnemonic-language English --log-file log --command version; done`},
	{name: "Java", packages: "openjdk-21-jre-headless rhino", script: `cat >a.js <<'END'
		for (;;) { var m = new java.util.HashMap(); for (var i = 0; i < 300000; i++) m.put(i * 2654435761 % 4294967296, "" + i); java.util.Arrays.sort(m.values().toArray()); }
END
		/usr/lib/jvm/java-2*/bin/java -cp $(echo /usr/share/java/*.jar | tr " " :) org.mozilla.javascript.tools.shell.Main a.js`},
	{name: "openssl speed", script: `forever sh -c "openssl speed -seconds 2 -evp chacha20-poly1305; openssl speed -seconds 1 aes-256-cbc sha256 ecdhx25519 rsa2048"`},
	{name: "xz", script: `data 40000000 >data; forever sh -c "xz -9e -k -c data >/dev/null"`},
	{name: "stress-ng crypt", packages: "stress-ng", script: `stress-ng --crypt 2 -t 1h`},
	{name: "g++", script: `cat >a.cc <<'END'
		#include <regex>
		#include <map>
		#include <iostream>
		int main() { std::map<std::string, std::regex> m; m["a"] = std::regex("a+"); std::cout << m.size(); }
END
		forever g++ -O3 -std=c++20 -c a.cc`},
	{name: "john", packages: "john", script: `forever john --test=1`},
	{name: "Python", script: `python3 -c "
while True:
    d = {}
    for i in range(1 << 20): d[i * 2654435761 & 0xfffff0] = str(i)
    sorted(d.values())"`},

	{name: "Monero's wallet, 2,000 rounds", packages: "monero", observed: true, script: `n=0; while n=$((n+1)); do
		monero-wallet-cli --offline --generate-new-wallet w$n --password x --kdf-rounds 2000 --mnemonic-language English --log-file log --command version; done`},
	{name: "7-Zip's benchmark", packages: "7zip", script: `forever 7z b`},
	{name: "tinymembench", packages: "tinymembench", script: `forever tinymembench`},
	{name: "LuaJIT", packages: "luajit", script: `luajit -e "
		local bit, ffi = require('bit'), require('ffi'); ffi.cdef[[typedef struct { uint32_t a, b, c, d; } entry;]]
		local t, x = ffi.new('entry[?]', 131072), 1
		while true do for i = 1, 1e7 do x = bit.tobit(x * 1103515245 + 12345); local e = t[bit.band(bit.rshift(x, 8), 131071)]; e.a = e.a + x end end"`},
	{name: "Node.js", script: `node -e "
		const t = new Uint32Array(1 << 19); let x = 1;
		for (;;) { for (let i = 0; i < 1e7; i++) { x = Math.imul(x, 1103515245) + 12345 | 0; t[(x >>> 0) % t.length] += x; } JSON.parse(JSON.stringify([...t.slice(0, 100000)])); }"`},
	{name: "Crypto++'s benchmark", packages: "libcrypto++-utils", script: `cd /usr/share/crypto++ 2>/dev/null || :; forever cryptest b 1`},
	{name: "Go's compiler", script: `forever env GOCACHE=$PWD/cache GOFLAGS=-a go build -o /dev/null fmt`},
	{name: "brotli", packages: "brotli", script: `data 30000000 >data; forever brotli -q 11 -w 24 -c data >/dev/null`},

	{name: "argon2", packages: "argon2", observed: true, script: `while :; do printf password | argon2 saltsaltsalt -id -t 40 -m 16 -p 1 >out; done`},
	{name: "yescrypt in crypt(3)", script: `perl -e 'crypt($n++, q($y$j9T$F5Jx5fExrKuPp53xLKQ..1)) while 1'`},
	{name: "Stockfish", packages: "stockfish", soak: true, script: `forever stockfish bench 64 1 20`},
	{name: "duktape", packages: "duktape", script: `cat >a.js <<'END'
		var o = {}; for (var n = 0;; n++) { for (var i = 0; i < 300000; i++) o["k" + (i & 0xffff)] = Math.sqrt(i) + n; }
END
		duk a.js`},
	{name: "lzop", packages: "lzop", script: `data 60000000 >data; forever sh -c "lzop -9 -c data >/dev/null; lzop -1 -c data >/dev/null"`},
	{name: "botan speed", packages: "botan", script: `forever botan speed --msec=300 Argon2 scrypt ChaCha20Poly1305 AES-256/GCM Curve25519 Whirlpool Skein-512`},
	{name: "PostgreSQL", script: `bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1); mkdir d; chown nobody . d; chmod 755 .
		as() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
		as $bin/initdb -D d/data -N -A trust >log; as $bin/postgres -D d/data -k $PWD/d -h "" -F >>log 2>&1 &
		until $bin/pg_isready -h $PWD/d -q; do sleep 0.2; done
		$bin/pgbench -h $PWD/d -U nobody -q -i -s 5 postgres 2>>log; $bin/pgbench -h $PWD/d -U nobody -S -c 4 -j 2 -T 3600 postgres >>log`},
	{name: "x265", packages: "x265", script: `data 74649600 >a.yuv; forever x265 --input a.yuv --input-res 640x360 --fps 25 --preset medium -o out.hevc`},
	{name: "Perl", script: `perl -e 'while (1) { my %h; $h{$_ * 2654435761 & 0xfffff0} .= "a" x 16 for 1 .. 300000; my $t = join ",", sort keys %h; $t =~ s/(\d+)0,/$1;/g }'`},

	{name: "scrypt", packages: "scrypt", script: `echo text >text; while :; do echo password | scrypt enc -P --logN 18 -r 8 -p 2 text out; done`},
	{name: "GNU Multiple Precision, ECM", packages: "gmp-ecm", script: `while :; do echo "(2^1277-1)" | ecm -c 2 1000000 >out; done`},
	{name: "yara over xmrig", packages: "yara xmrig", script: `printf 'rule a { strings: $a = "stratum" $b = "mining.subscribe" $c = /cn-[a-z]+/ $d = { 63 7c 77 7b ?? 6b } condition: any of them }' >r
		while :; do yara -s r /usr/bin/xmrig >out; yara -r r /usr/lib >out 2>&1 || :; done`},
	{name: "Chromium", script: `cat >a.html <<'END'
		<canvas id=c width=800 height=600></canvas><script>const g = c.getContext("2d"); let x = 1;
		setInterval(() => { for (let i = 0; i < 3000; i++) { x = Math.imul(x, 1103515245) + 12345 | 0; g.fillStyle = "#" + (x >>> 8 & 0xffffff).toString(16); g.fillRect(x >>> 20 & 511, x >>> 8 & 511, 99, 99); } }, 1)</script>
END
		chromium --headless=new --no-sandbox --disable-gpu --user-data-dir=$PWD/c --virtual-time-budget=100000000 --screenshot=$PWD/a.png file://$PWD/a.html 2>log`},
	{name: "zstd", packages: "zstd", script: `data 60000000 >data; forever sh -c "zstd -q --ultra -22 -c data >/dev/null"`},
	{name: "stress-ng hash", packages: "stress-ng", script: `stress-ng --hash 2 -t 1h`},
	{name: "Ruby", packages: "ruby", script: `ruby -e 'loop { h = {}; 500_000.times { |i| h[i * 2654435761 & 0xfffff0] = i.to_s }; h.values.sort.join.hash }'`},
	{name: "valgrind", packages: "valgrind", script: `forever valgrind -q ls -lR /usr/share >/dev/null`},

	{name: "age", packages: "age", script: `age-keygen -o key 2>/dev/null; forever sh -c "head -c 500000000 /dev/zero | age -r \$(age-keygen -y key) >/dev/null"`},
	{name: "PARI/GP", packages: "pari-gp", script: `while :; do echo "factor(2^227-1); factor(10^71-1); for(i=1,10^6,isprime(i^2+1))" | gp -q; done`},
	{name: "stress-ng memory", packages: "stress-ng", script: `stress-ng --vm 1 --vm-bytes 8m --memrate 1 --memrate-bytes 4m --hsearch 1 --tree 1 --stream 1 --mcontend 1 -t 1h`},
	{name: "clang", script: `printf '#include <regex>\n#include <map>\nint main() { std::map<int, std::regex> m; return m.size(); }\n' >a.cc
		forever clang-19 -O2 -std=c++20 -c a.cc`},
	{name: "gpg", packages: "gpg gpg-agent", script: `mkdir -m 700 g; forever sh -c "head -c 200000000 /dev/zero | gpg --homedir g --batch --passphrase x --pinentry-mode loopback -z 6 -o - -c >/dev/null 2>&1"`},
	{name: "SBCL", packages: "sbcl", script: `sbcl --noinform --eval '(let ((h (make-hash-table))) (loop for i from 1 do (setf (gethash (logand (* i 2654435761) #xffff0) h) (float i)) (when (zerop (mod i 1000000)) (gc))))'`},
	{name: "ClamAV over xmrig", packages: "clamav xmrig", script: `printf 'Test.A:0:*:6d696e696e672e737562736372696265\nTest.B:0:*:63727970746f6e69676874\n' >a.ndb
		while :; do clamscan -d a.ndb -r /usr/bin >out || :; done`},
	{name: "Redis", script: `ln -s $(command -v redis-check-rdb) redis-server; ./redis-server --port 0 --unixsocket s --save "" >log &
		until [ -S s ]; do sleep 0.2; done; forever redis-benchmark -s s -q -n 200000 -r 100000 -P 16 -t set,get,lpush,zadd,mset >log`},

	{name: "rhash", packages: "rhash", script: `forever rhash -B --all`},
	{name: "NumPy", packages: "python3-numpy", script: `python3 -c "
import numpy as np
while True:
    a = np.random.rand(700, 700); np.linalg.svd(a); t = np.zeros(1 << 18, dtype=np.uint64); i = np.random.randint(0, 1 << 18, 10**6, dtype=np.int64)
    np.add.at(t, i, np.uint64(3)); t *= t; np.sort(np.random.rand(10**6)); np.fft.fft(a)"`},
	{name: "lrzip", packages: "lrzip", script: `data 60000000 >data; forever sh -c "lrzip -q -f -l data; lrzip -q -f -z -L 7 data"`},
	{name: "SQLite", packages: "sqlite3", script: `forever sqlite3 :memory: "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<500000)
		INSERT INTO t SELECT n*2654435761%1048560, hex(n) FROM c WHERE 1 ON CONFLICT DO NOTHING; CREATE INDEX i ON t(b); SELECT count(*), sum(length(b)) FROM t WHERE b LIKE '%3%';" >out`},
	{name: "Ghostscript", packages: "ghostscript", script: `printf '%%!PS\n/n 0 def 2000 { gsave 300 400 translate n rotate 0 0 moveto 200 0 lineto 100 150 50 250 0 100 curveto n 2000 div 0.5 1 sethsbcolor fill grestore /n n 1 add def } repeat showpage\n' >a.ps
		forever gs -q -dNOSAFER -dBATCH -dNOPAUSE -sDEVICE=png16m -r150 -dTextAlphaBits=4 -dGraphicsAlphaBits=4 -sOutputFile=/dev/null a.ps`},
	{name: "GnuTLS's benchmark", packages: "gnutls-bin", script: `forever sh -c "gnutls-cli --benchmark-ciphers; gnutls-cli --benchmark-tls-kx" >out`},
	{name: "git", script: `git init -q r; cd r; git config user.email a@example.org; git config user.name a; mkdir s
		for i in 1 2 3 4 5; do head -c 3000000 /usr/bin/git | split -b 3000$i - s/f; git add -A; git commit -q -m $i; done; forever git repack -q -a -d -f --depth=100 --window=250`},

	{name: "openssl enc", script: `forever sh -c "openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in /dev/zero 2>/dev/null | head -c 2000000000 >/dev/null; head -c 300000000 /dev/zero | openssl dgst -sha3-256 >/dev/null"`},
	{name: "aomenc", packages: "aom-tools", script: `data 20736000 >a.yuv; forever aomenc --i420 -w 640 -h 360 --limit=20 --cpu-used=4 --threads=2 -q -o out.ivf a.yuv`},
	{name: "Maxima", packages: "maxima", script: `printf 'for i thru 100000 do (factor(2^(89+i)-1), integrate(1/(x^6+i),x), expand((a+b+c)^30));' >a.mac; forever maxima --very-quiet -b a.mac >out`},
	{name: "stress-ng cpu", packages: "stress-ng", script: `stress-ng --cpu 2 --cpu-method all -t 1h`},
	{name: "restic", packages: "restic", script: `data 300000000 >data; export RESTIC_PASSWORD=x; while :; do rm -rf r; restic -q -r r init; restic -q -r r --no-cache backup data --compression max; done`},
	{name: "PHP", packages: "php-cli", script: `php8.4 -r 'while (1) { $h = []; for ($i = 0; $i < 300000; $i++) $h[$i * 2654435761 & 0xfffff0] = md5($i); ksort($h); strlen(serialize($h)); password_hash("x", PASSWORD_BCRYPT); }'`},
	{name: "Z3", packages: "z3", script: `cat >a.smt2 <<'END'
(declare-const a (_ BitVec 64)) (declare-const b (_ BitVec 64)) (assert (= (bvmul a b) #x7fffffd4b3a1c2e9)) (assert (bvugt a #x0000000000000fff)) (assert (bvult a #x00000000ffffffff)) (assert (bvult b #x00000000ffffffff)) (assert (bvugt b #x0000000000000fff)) (check-sat)
END
		forever z3 a.smt2`},
	{name: "Tesseract", packages: "tesseract-ocr imagemagick", soak: true, script: `magick-im7.q16 -size 1200x900 plasma:fractal -pointsize 40 -annotate +50+300 "The quick brown fox" a.png; forever sh -c "tesseract a.png out -l osd --psm 0 2>/dev/null || :; magick-im7.q16 a.png -blur 0x8 -resize 300% -distort Perspective '0,0 10,10 0,90 5,95 90,0 80,5 90,90 95,95' b.jpg"`},

	{name: "cryptsetup's benchmark", packages: "cryptsetup-bin", observed: true, script: `forever sh -c "cryptsetup benchmark -h sha256; cryptsetup benchmark --pbkdf argon2id" >out`},
	{name: "SWI-Prolog", packages: "swi-prolog-core", script: `echo "p(0,[]). p(N,L) :- N>0, M is N-1, p(M,K), i(N,K,L). i(X,L,[X|L]). i(X,[Y|L],[Y|K]) :- i(X,L,K)." >a.pl; swipl -g "repeat,findall(X,p(8,X),P),length(P,_),fail" a.pl`},
	{name: "HMMER, minimap2", packages: "hmmer minimap2", script: `{ echo ">r"; head -c 2000000 /dev/zero | openssl enc -aes-128-ctr -pass pass:x -nosalt 2>/dev/null | tr -dc ACGT; } >r.fa; forever sh -c "minimap2 -t 2 r.fa r.fa >out 2>&1; nhmmer -o out --dna r.fa r.fa 2>&1 || :"`},
	{name: "gnuchess", packages: "gnuchess", script: `while :; do printf 'depth 9\ngo\ngo\ngo\ngo\nquit\n' | gnuchess -x >out; done`},
	{name: "CaDiCaL", packages: "cadical gawk", script: `gawk 'BEGIN { srand(7); n = 260; m = 1108; print "p cnf", n, m; for (i = 0; i < m; i++) { s = ""; for (j = 0; j < 3; j++) s = s (rand() < .5 ? "-" : "") int(rand() * n + 1) " "; print s 0 } }' >a.cnf; while :; do cadical -q a.cnf >out || :; done`},
	{name: "GLPK", packages: "glpk-utils", script: `printf 'param n := 60; set I := 1..n; param d{i in I, j in I} := (i*7919+j*104729) mod 997; var x{I,I} binary; minimize z: sum{i in I, j in I} d[i,j]*x[i,j]; s.t. a{i in I}: sum{j in I} x[i,j] >= 3; s.t. b{j in I}: sum{i in I} (1+(d[i,j] mod 5))*x[i,j] <= 11; end;' >a.mod; forever glpsol --tmlim 20 -m a.mod >out`},
	{name: "Guile", packages: "guile-3.0", script: `guile-3.0 -c '(let loop ((i 0)) (let ((h (make-hash-table))) (do ((j 0 (+ j 1))) ((= j 300000)) (hash-set! h (logand (* j 2654435761) #xffff0) (number->string j)))) (loop (+ i 1)))'`},
	{name: "sysbench", packages: "sysbench", script: `forever sh -c "sysbench --time=3 --threads=2 cpu run; sysbench --time=3 --memory-access-mode=rnd --memory-block-size=2M memory run" >out`},

	{name: "ripgrep, grep, objdump over xmrig", packages: "ripgrep grep binutils xmrig", script: `forever sh -c "rg -a -c 'cn[-/](half|heavy|[0-9r])|stratum' /usr/bin /usr/lib >out || :; grep -aPc '(mining|stratum)[.+]\w+' /usr/bin/xmrig >out; objdump -d /usr/bin/xmrig >/dev/null; strings -a /usr/bin/xmrig >out"`},
	{name: "b3sum, sha256sum, rsync", packages: "b3sum rsync", script: `data 300000000 >data; mkdir t; forever sh -c "b3sum data data data; sha256sum data; sha512sum data; cksum data; b2sum data; rsync -c --inplace data t/; rsync -c -z --no-whole-file --inplace data t/" >out`},
	{name: "primesieve", packages: "primesieve-bin", script: `forever primesieve 1e12 -d1e11 -q`},
	{name: "FFTW's planner", packages: "libfftw3-bin", script: `forever fftw-wisdom -v -n -t 0.01 -o wisdom rif1024x512 cif65536 cof1000 rob4096`},
	{name: "Tcl", packages: "tcl8.6", script: `echo 'while 1 { for {set i 0} {$i < 200000} {incr i} { set h([expr {$i * 2654435761 & 0xfffff0}]) [string repeat a 16] }; lsort [array names h] }' >a.tcl; tclsh8.6 a.tcl`},
	{name: "memtester", packages: "memtester", script: `forever memtester 4M 1 >out`},
	{name: "par2", packages: "par2", script: `data 30000000 >data; while :; do rm -f data.*; par2 create -q -q -r30 data.par2 data; done`},
	{name: "wasm2c, wasm-interp", packages: "wabt", script: `cat >a.wat <<'END'
(module (memory 64) (func (export "f") (local $x i32) (loop $l
 (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
 (i32.store (i32.and (local.get $x) (i32.const 0x1ffff0)) (local.get $x)) (br $l))))
END
		wat2wasm a.wat; wasm-interp a.wasm --run-all-exports`},

	{name: "rustc", packages: "rustc", soak: true, script: `cat >a.rs <<'END'
use std::collections::*; fn main() { let mut m: BTreeMap<String, HashMap<u64, Vec<String>>> = BTreeMap::new(); for i in 0..100u64 { m.entry(format!("{i}")).or_default().entry(i).or_default().push(format!("{:?}", i)); } println!("{:?}", m); }
END
		forever rustc -O --emit=obj a.rs`},
	{name: "ffmpeg, x264", packages: "ffmpeg", soak: true, script: `forever ffmpeg -v error -y -f lavfi -i testsrc2=size=1280x720:rate=25:duration=10 -c:v libx264 -preset slow -f mp4 out.mp4`},
	{name: "POV-Ray", packages: "povray", soak: true, script: `printf '#version 3.7; camera { location <0,2,-5> look_at 0 } light_source { <5,9,-9> rgb 1 } #declare i = 0; #while (i < 300) sphere { <mod(i,9)-4, mod(i,5)-2, mod(i,11)>, 0.4 texture { pigment { granite } finish { reflection 0.3 } } } #declare i = i + 1; #end' >a.pov
		forever povray -GA -D +Ia.pov +Oa.png +W800 +H600 +A0.1`},
	{name: "Octave", packages: "octave", soak: true, script: `octave-cli --no-gui --eval 'while true; a = rand(500); inv(a); svd(a); s = 0; for i = 1:200000; s = bitxor(s, i); end; end'`},
}
