package monero

// tracepoint is the one of x86.bpf.h.
const tracepoint = "x86_fpu_regs_deactivated"
