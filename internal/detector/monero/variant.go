package monero

// variantName returns a name for the result of the kernel program describe: bit 0 is set if
// the kernel has bpf_task_pt_regs, the other bits are an enum layout (monero.bpf.c).
func variantName(variant uint32) string {
	mode := map[bpfLayout]string{
		bpfLayoutFPU_STATE:       "MXCSR in fpu.state",
		bpfLayoutFPU_FPSTATE:     "MXCSR in fpu.fpstate",
		bpfLayoutFPU_BEHIND_TASK: "MXCSR in fpu.fpstate, behind the task",
		bpfLayoutFPCR:            "FPCR at sched_switch",
	}[bpfLayout(variant>>1)]
	registers := "registers from the stack"
	if variant&1 != 0 {
		registers = "registers by bpf_task_pt_regs"
	}
	return mode + ", " + registers
}
