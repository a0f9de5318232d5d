/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rounding modes on arm64, in FPCR.
 *
 * There is no tracepoint for the FPU on arm64. sched_switch fires before the kernel saves
 * the registers of the thread that is switched out, so those in its task_struct are old.
 * Those of the thread that is switched in are from the end of its last time slice; if
 * they were not saved then (TIF_FOREIGN_FPSTATE), they had not been loaded either. FPCR is
 * at the same offset with SVE and SME, and has the mode of 32-bit programs too.
 */
#pragma once

#define MODE_SHIFT 22	  /* of RMode in FPCR */
#define THREAD_SIZE 16384 /* of a kernel stack with pages of 4 or 16 KiB; used before 5.15 */

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
	s32 syscallno; /* NO_SYSCALL, -1, after an interrupt or a fault */
};

#pragma clang attribute pop

/* In the encoding of x86: down is 1 and up is 2. In FPCR up is 1 and down is 2. */
static __always_inline u32 rounding_mode(struct task_struct *task)
{
	u32 fpcr = ((struct task_struct___thread *)task)->thread.uw.fpsimd_state.fpcr;

	return (fpcr >> (MODE_SHIFT + 1) & 1) | (fpcr >> MODE_SHIFT & 1) << 1;
}

/* Also true for a thread that has never been in user mode: its registers are those of the
 * system call that created it, or zero. */
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

/* 5.18 added a fourth argument (fa2c3254d7cf), which moved the others until a fix in the same
 * version (9c2136be0878): no released kernel is affected. */
SEC("tp_btf/sched_switch")
int BPF_PROG(sample_mode, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	u32 mode = rounding_mode(next);

	if ((mode || *interest_slot(next->pid)) && !(next->flags & PF_KTHREAD))
		take_sample(next, mode);
	return 0;
}
