package monero

// tracepoint is where threads are sampled: x86.bpf.h.
const tracepoint = "x86_fpu_regs_deactivated"
