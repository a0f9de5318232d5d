package firstbytes

// miningMethods are the methods of the bitcoin kind of stratum that a client calls, of all its
// dialects: BIP 310, NiceHash's, EthereumStratum 2.0.
var miningMethods = [...]string{ //nolint:gochecknoglobals // read only
	"mining.subscribe", "mining.authorize", "mining.submit", "mining.configure", "mining.extranonce.subscribe",
	"mining.hello", "mining.noop", "mining.bye", "mining.hashrate", "mining.get_transactions", "mining.get_version",
	"mining.suggest_difficulty", "mining.suggest_target", "mining.multi_version", "mining.capabilities", "mining.get_job",
	"mining.set_extranonce", "mining.set_goal",
}

// loginParams are the params beside login of one who mines.
var loginParams = [...]string{"pass", "agent", "algo", "rigid"} //nolint:gochecknoglobals // read only

// kernelWords returns the words by their context and text, in lower case.
func kernelWords() map[bpfContext]map[string]uint32 {
	methods := map[string]uint32{
		"login":              uint32(bpfWordMETHOD_LOGIN),
		"submit":             uint32(bpfWordMETHOD_SUBMIT),
		"eth_submitlogin":    uint32(bpfWordMETHOD_ETH),
		"eth_getwork":        uint32(bpfWordMETHOD_WORK),
		"eth_submithashrate": uint32(bpfWordMETHOD_WORK),
		"getblocktemplate":   uint32(bpfWordMETHOD_TEMPLATE),
		"get_block_template": uint32(bpfWordMETHOD_TEMPLATE),
	}
	for _, m := range miningMethods {
		methods[m] = uint32(bpfWordMETHOD_MINING)
	}
	params := map[string]uint32{
		"login":          uint32(bpfWordPARAM_LOGIN),
		"job_id":         uint32(bpfWordPARAM_JOB),
		"nonce":          uint32(bpfWordPARAM_NONCE),
		"wallet_address": uint32(bpfWordPARAM_WALLET),
	}
	for _, p := range loginParams {
		params[p] = uint32(bpfWordPARAM_MINER)
	}
	return map[bpfContext]map[string]uint32{
		bpfContextIS_KEY:    {"method": uint32(bpfKeyKEY_METHOD), "params": uint32(bpfKeyKEY_PARAMS)},
		bpfContextIS_METHOD: methods,
		bpfContextIS_PARAM:  params,
	}
}
