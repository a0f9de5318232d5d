package monero

// reading puts the answer of the program describe into words: bit 0 is whether
// there is bpf_task_pt_regs, those above are an enum layout (monero.bpf.c).
func reading(variant uint32) string {
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
