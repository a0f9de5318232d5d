package monero

// tracepoint is where threads are sampled: arm64.bpf.h.
const tracepoint = "sched_switch"
