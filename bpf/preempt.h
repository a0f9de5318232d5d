/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tracing program is not re-entered on a CPU, and since 7.0 it can be preempted
 * (a46023d5616e): other execs on this CPU would then be missed. So preemption is disabled
 * while an exec is evaluated. It is enabled again with interrupts off, so that a pending
 * reschedule happens only after the program has returned.
 *
 * This needs functions of 6.10 (fc7566ad0a82) and 6.14 (c8e2ee1f3df0), and a verifier
 * that allows calls of global functions in between, as since 6.15 (e2d8f560d178).
 */
#pragma once

#include "kernel.h"

extern int LINUX_KERNEL_VERSION __kconfig;

void bpf_preempt_disable(void) __ksym __weak;
void bpf_preempt_enable(void) __ksym __weak;
void bpf_local_irq_save(unsigned long *flags) __ksym __weak;
void bpf_local_irq_restore(unsigned long *flags) __ksym __weak;

static __always_inline bool can_hold(void)
{
	return bpf_core_field_exists(struct bpf_subprog_info, might_sleep);
}

/* Before 7.0 tracepoint programs run with preemption disabled, and these calls would be a twentieth of a
 * judgement. A kernel before 6.15 that allows them has changes of newer ones, maybe also that one. */
static __always_inline bool is_preemptible(void)
{
	return can_hold() &&
	       (LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 15, 0) || LINUX_KERNEL_VERSION >= KERNEL_VERSION(7, 0, 0));
}

static __always_inline void hold_cpu(void)
{
	if (can_hold())
		bpf_preempt_disable();
}

static __always_inline void release_cpu(void)
{
	unsigned long flags;

	if (!can_hold())
		return;
	bpf_local_irq_save(&flags);
	bpf_preempt_enable();
	bpf_local_irq_restore(&flags);
}

/* The same for a tracepoint program. */
static __always_inline void hold_cpu_at_tracepoint(void)
{
	if (is_preemptible())
		hold_cpu();
}

static __always_inline void release_cpu_at_tracepoint(void)
{
	if (is_preemptible())
		release_cpu();
}
