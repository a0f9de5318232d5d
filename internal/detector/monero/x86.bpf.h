/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rounding modes on x86-64, in MXCSR.
 *
 * x86_fpu_regs_deactivated fires when a thread is switched out, after the kernel has saved
 * its FPU registers. So the state of the current thread is exact.
 */
#pragma once

#define FEATURE_SSE 2	  /* in xfeatures */
#define MODE_SHIFT 13	  /* of the rounding control in MXCSR */
#define THREAD_SIZE 16384 /* of a kernel stack without KASAN; used before 5.15 */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* arch/x86/include/asm/fpu/types.h */
struct xregs_state {
	struct {
		u32 mxcsr;
	} i387;
	struct {
		u64 xfeatures;
	} header;
};

union fpregs_state {
	struct xregs_state xsave;
};

struct fpstate {
	union fpregs_state regs;
};

/* A pointer since 5.16 (87d0e5be0fac). */
struct fpu {
	struct fpstate *fpstate;
};

struct fpu___5_15 {
	union fpregs_state state;
};

/* Until 6.15; struct fpu then moved after the task_struct (55bc30f2e34d). Only layout uses
 * this: the tracepoint passes the pointer. */
struct thread_struct {
	struct fpu fpu;
};

/* arch/x86/include/asm/ptrace.h */
struct pt_regs {
	unsigned long orig_ax;
	unsigned long ip;
};

#pragma clang attribute pop

static __always_inline u32 rounding_mode(struct fpu *fpu)
{
	struct xregs_state *x;

	if (bpf_core_field_exists(struct fpu, fpstate))
		x = &fpu->fpstate->regs.xsave;
	else
		x = &((struct fpu___5_15 *)fpu)->state.xsave;
	/* XSAVE may omit SSE state in its initial configuration, which has the nearest mode
	 * (Intel SDM volume 1, 13.6). */
	if (!(x->header.xfeatures & FEATURE_SSE))
		return 0;
	return x->i387.mxcsr >> MODE_SHIFT & 3;
}

static __always_inline bool in_system_call(struct pt_regs *regs)
{
	return (long)BPF_CORE_READ(regs, orig_ax) >= 0;
}

static __always_inline u64 instruction(struct pt_regs *regs)
{
	return BPF_CORE_READ(regs, ip);
}

static __always_inline enum layout layout(void)
{
	if (!bpf_core_field_exists(struct fpu, fpstate))
		return FPU_STATE;
	if (bpf_core_field_exists(struct thread_struct, fpu))
		return FPU_FPSTATE;
	return FPU_BEHIND_TASK;
}

/* bpf_task_pt_regs needs the pointer of bpf_get_current_task_btf, which is new in 5.11
 * (3ca1032ab7ab). */
static __always_inline struct task_struct *current_task(void)
{
	if (has_task_pt_regs())
		return bpf_get_current_task_btf();
	return (struct task_struct *)bpf_get_current_task();
}

SEC("tp_btf/x86_fpu_regs_deactivated")
int BPF_PROG(sample_mode, struct fpu *fpu)
{
	u32 mode = rounding_mode(fpu);

	if (mode || *interest_slot(bpf_get_current_pid_tgid()))
		take_sample(current_task(), mode);
	return 0;
}
