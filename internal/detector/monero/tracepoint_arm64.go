package monero

// tracepoint is the one of arm64.bpf.h.
const tracepoint = "sched_switch"
