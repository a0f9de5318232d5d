package rules_test

import "strings"

// honest returns the command line of a legitimate program: one with short options that miners
// have too, or with words of mining where miners do not have them.
func (g grammar) honest() []string {
	templates := shortOptions()
	if g.one(2) {
		templates = miningWords()
	}
	var argv []string
	for arg := range strings.FieldsSeq(g.pick(templates...)) {
		argv = append(argv, g.fill(arg))
	}
	return argv
}

// fill replaces the names in capitals in an argument. "_" stands for a space.
func (g grammar) fill(arg string) string {
	for _, value := range []struct {
		name string
		make func() string
	}{
		{"WALLET", g.wallet},
		{"ALGORITHM", g.algorithm},
		{"PLAIN", func() string { return strings.ReplaceAll(g.algorithm(), "/", "-") }},
		{"COMMON", func() string {
			return g.word("scrypt yescrypt blake2b argon2 keccak skein hex sha256 zstd lzma ppo dqn")
		}},
		{"COIN", func() string { return g.word("monero xmr ravencoin rvn zephyr dogecoin") }},
		{"MINER", func() string { return g.word("xmrig cpuminer SRBMiner-MULTI minerd ccminer xmrig-6.22.2 kdevtmpfsi") }},
		{"POOL", g.pool},
		{"HOST", g.host},
		{"PORT", g.port},
		{"FILE", func() string { return g.letters("", small, 2+g.IntN(9)) + g.pick("", ".o", ".csv", ".tar.gz", ".json") }},
		{"USER", func() string {
			return g.pick("root", "me", "svc-backup", "pool", g.letters("", hex, 32), g.letters("", hex, 40))
		}},
		{"SECRET", func() string { return g.letters("", base58, 8+g.IntN(40)) }},
		{"_", func() string { return " " }},
	} {
		for strings.Contains(arg, value.name) {
			arg = strings.Replace(arg, value.name, value.make(), 1)
		}
	}
	return arg
}

// shortOptions returns commands with -o, -u, -a, --user, --url and the like, from the manuals
// of the programs.
func shortOptions() []string {
	return lines(`
		/usr/bin/curl -u USER:SECRET -o FILE https://HOST:PORT/FILE
		/usr/bin/curl -k --url https://HOST:PORT/FILE --user USER:SECRET -o FILE
		/usr/bin/curl -s HOST:PORT -o FILE
		/usr/bin/curl -O HOST:PORT/FILE -u USER:SECRET
		/usr/bin/curl -x HOST:PORT -o FILE -u USER:SECRET http://HOST/FILE
		/usr/bin/wget -O FILE --user=USER --password=SECRET https://HOST:PORT/FILE
		/usr/bin/git clone https://USER:SECRET@HOST:PORT/FILE.git
		/usr/bin/ssh -o ProxyJump=USER@HOST:PORT -p PORT USER@HOST
		/usr/bin/ssh -o StrictHostKeyChecking=no -l USER HOST
		/usr/bin/scp -o Port=PORT FILE USER@HOST:FILE
		/usr/bin/rsync -a -u -o FILE USER@HOST:FILE
		/usr/bin/sort -u -o FILE FILE
		/usr/bin/gcc -O2 -o FILE FILE -lpool
		/usr/bin/ld -o pool pool.o -u main
		/usr/bin/gpg -a -u 0xA2CEC255404E4FB440034D6608697A8D41BED440 -o FILE --sign FILE
		/usr/bin/docker run -u 1000 -p HOST:PORT:PORT -e POOL_SIZE=4 FILE -o FILE
		/usr/bin/kubectl --server=https://HOST:PORT --user=USER get pods -o json
		/usr/bin/kubectl --server HOST:PORT --user USER --token SECRET get nodes
		/usr/bin/mysql -u USER -pSECRET --host HOST --port PORT
		/usr/bin/psql -U USER -h HOST -p PORT -o FILE
		/usr/bin/redis-cli -u redis://USER:SECRET@HOST:PORT
		/usr/bin/mongodump --uri mongodb://USER:SECRET@HOST:PORT/db -o FILE
		/usr/bin/nats --server nats://USER:SECRET@HOST:PORT sub FILE
		/usr/bin/influx -host HOST -port PORT -username USER -password SECRET
		/usr/bin/mosquitto_sub -h HOST -p PORT -u USER -P SECRET -t FILE
		/usr/bin/ansible all -u USER -o -a uptime
		/usr/bin/mount -o addr=HOST,port=PORT HOST:/srv /mnt
		/usr/bin/celery -A app worker --pool prefork -c 8 --broker redis://HOST:PORT/0
		/usr/bin/ldapsearch -H ldap://HOST:PORT -a always -o nettimeout=3 -u
		/usr/bin/python3 train.py --algo ppo --server HOST:PORT --user USER --workers 8
		/usr/bin/python3 train.py -a resnet50 --dist-url tcp://HOST:PORT --world-size 2
		/usr/bin/python3 serve.py --url HOST:PORT --user USER --password SECRET
		/usr/bin/python3 -m http.server --bind HOST PORT
		/usr/bin/hashcat -a 0 -m 1000 -o FILE FILE
		/usr/bin/sqlmap -u http://HOST:PORT/FILE -o
		/usr/bin/ffmpeg -i FILE -o tcp://HOST:PORT
		/usr/bin/certbot certonly -a webroot -w /srv -d HOST --server https://HOST:PORT/directory
		/usr/bin/borg create -a FILE ssh://USER@HOST:PORT/srv::FILE
		/usr/bin/nmap -sV -p PORT -oN FILE HOST
		/usr/bin/socat -u TCP-LISTEN:PORT FILE:FILE
		/usr/bin/rclone copy --user USER --url https://HOST:PORT FILE:
		/usr/bin/vault login -address=https://HOST:PORT -method=userpass username=USER`)
}

// miningWords returns commands with the names of algorithms, coins, wallets and pools: of
// wallets' own programs, nodes, explorers, exporters, price lists, benchmarks, and of those
// who block or discuss mining.
func miningWords() []string {
	return lines(`
		/usr/bin/cp -a ALGORITHM ALGORITHM
		/usr/bin/git log -a ALGORITHM
		/usr/bin/tar -a -cf FILE ALGORITHM
		/usr/local/bin/hashbench --algo PLAIN -o FILE -t 4
		/usr/local/bin/hashbench --algorithm=PLAIN --url http://HOST:PORT/results
		/usr/bin/mkpasswd -m yescrypt
		/usr/bin/python3 hash.py --algo COMMON -o FILE --user USER
		/usr/bin/python3 hash.py -a COMMON -u USER -p SECRET
		/usr/bin/python3 prices.py --coin COIN --vs usd -o FILE
		/usr/bin/python3 prices.py --coin=COIN --url https://HOST:PORT/v1
		/usr/bin/python3 exporter.py --wallet WALLET --url https://HOST:PORT/api --port PORT
		/usr/bin/python3 exporter.py --address=WALLET --rpc-url http://HOST:PORT
		/usr/bin/python3 exporter.py --pool POOL --wallet WALLET --listen HOST:PORT
		/usr/local/bin/bitcoin-cli -rpcconnect=HOST -rpcport=PORT sendtoaddress WALLET 0.01
		/usr/local/bin/monero-wallet-cli --daemon-address HOST:PORT --wallet-file FILE transfer WALLET 1.5
		/usr/local/bin/monero-wallet-cli --daemon-address POOL:PORT --wallet-file FILE
		/usr/local/bin/monero-wallet-rpc --daemon-address HOST:PORT --rpc-bind-port PORT --wallet-dir /w
		/usr/local/bin/monerod --add-priority-node=POOL:PORT --zmq-pub tcp://HOST:PORT --out-peers 32
		/usr/local/bin/p2pool --host HOST --rpc-port PORT --wallet WALLET --mini
		/usr/local/bin/geth --miner.etherbase 0x0e2cb8fd1fd46d8e15a0d1c9b4f0a2c3d4e5f607 --http.addr HOST --http.port PORT
		/usr/local/bin/lighthouse vc --suggested-fee-recipient 0x0e2cb8fd1fd46d8e15a0d1c9b4f0a2c3d4e5f607 --beacon-nodes http://HOST:PORT
		/usr/local/bin/cast balance WALLET --rpc-url http://HOST:PORT
		/usr/local/bin/electrum history WALLET -s HOST:PORT:s
		/usr/local/bin/solana balance SECRET --url https://HOST:PORT
		/usr/bin/curl -s https://HOST/address/WALLET -o FILE
		/usr/bin/curl -u USER:SECRET -o FILE https://POOL:PORT/api/WALLET
		/usr/bin/curl -s POOL:PORT
		/usr/bin/curl https://HOST:PORT/?address=WALLET&coin=COIN
		/usr/bin/qrencode -o FILE COIN:WALLET
		/usr/bin/grep -r WALLET /var/log
		/usr/bin/grep -cE POOL|POOL /var/log/syslog
		/usr/bin/grep -rn -e_MINER -e_POOL:PORT /home
		/usr/bin/nslookup POOL HOST
		/usr/bin/dig +short POOL @HOST -p PORT
		/usr/bin/nc -vz POOL PORT
		/usr/bin/openssl s_client -connect POOL:PORT -servername POOL
		/usr/sbin/iptables -A OUTPUT -p tcp -d POOL --dport PORT -j DROP
		/usr/sbin/iptables -A FORWARD -m string --string ALGORITHM --algo bm -j DROP
		/usr/sbin/dnsmasq -k --address=/POOL/0.0.0.0 --server=/POOL/HOST#PORT --server=HOST#PORT
		/usr/local/bin/pihole -b POOL POOL
		/usr/bin/git commit -m ban_POOL:PORT,_where_MINER_is_paid_to_WALLET
		/usr/bin/git commit -m COIN_has_ALGORITHM_now
		/usr/bin/logger -t ban MINER_at_POOL:PORT_is_blocked
		/usr/bin/mail -s MINER_found USER@HOST
		/usr/bin/pkill -9 MINER
		/usr/bin/systemctl stop MINER.service
		/usr/bin/make -C MINER -j 4
		/usr/bin/tar -xzf MINER.tar.gz -C /tmp
		/usr/bin/docker pull HOST:PORT/MINER
		/usr/bin/vim +/POOL FILE
		/usr/bin/node agent.js -p explain_why_POOL:PORT_with_ALGORITHM_is_on_this_node
		/usr/bin/python3 -m bench record --rig-id FILE --url HOST:PORT
		/usr/bin/env POOL_URL=postgres://USER:SECRET@HOST:PORT/db WALLET=/opt/oracle/wallet ./app`)
}

func lines(text string) (all []string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		all = append(all, strings.TrimSpace(line))
	}
	return all
}
