/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rounding modes on arm64, in FPCR.
 *
 * There is no tracepoint for the FPU here. sched_switch fires before the kernel
 * saves the registers of the thread that is switched out, so those in its
 * task_struct are old; but those of the one that is switched in are as it left
 * them when it ran last. Where they were not saved then (TIF_FOREIGN_FPSTATE),
 * they had not been loaded either. FPCR has the same place with SVE and SME in
 * use, and holds the mode of 32-bit programs too.
 */
#pragma once

#define MODE_SHIFT 22 /* of RMode in FPCR */
/* Of a kernel stack with pages of 4 or 16 KiB. It matters before 5.15 alone. */
#define THREAD_SIZE 16384

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* arch/arm64/include/uapi/asm/ptrace.h */
struct user_fpsimd_state {
	u32 fpcr;
};

/* arch/arm64/include/asm/processor.h; so since 4.17 (65896545b69f) */
struct thread_struct {
	struct {
		struct user_fpsimd_state fpsimd_state;
	} uw;
};

struct task_struct___thread {
	struct thread_struct thread;
};

/* arch/arm64/include/asm/ptrace.h */
struct pt_regs {
	u64 pc;
	s32 syscallno; /* NO_SYSCALL, -1, where an interrupt or a fault led here */
};

#pragma clang attribute pop

/* In the numbers of x86: down is 1 and up is 2, which Arm has the other way. */
static __always_inline u32 rounding_mode(struct task_struct *task)
{
	u32 fpcr = ((struct task_struct___thread *)task)->thread.uw.fpsimd_state.fpcr;

	return (fpcr >> (MODE_SHIFT + 1) & 1) | (fpcr >> MODE_SHIFT & 1) << 1;
}

/* Also of a thread that has never been in user mode: its registers are those of
 * the system call that made it, or zero. */
static __always_inline bool in_system_call(struct pt_regs *regs)
{
	return BPF_CORE_READ(regs, syscallno) >= 0;
}

static __always_inline u64 instruction(struct pt_regs *regs)
{
	return BPF_CORE_READ(regs, pc);
}

static __always_inline enum layout layout(void)
{
	return FPCR;
}

/* A fourth argument came in 5.18 (fa2c3254d7cf), which moved the others until a
 * later fix in the same version (9c2136be0878): that kernel is nobody's. */
SEC("tp_btf/sched_switch")
int BPF_PROG(sample_mode, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 mode = rounding_mode(next);

	if ((mode || *place(next->pid)) && !(next->flags & PF_KTHREAD))
		take_sample(next, mode);
	return 0;
}
