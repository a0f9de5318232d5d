/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tracing program is not re-entered on a CPU, and since 7.0 it can be preempted
 * (a46023d5616e): other execs on this CPU would then be missed. So preemption is disabled
 * while an exec is evaluated. It is enabled again with interrupts off, so that a pending
 * reschedule happens only after the program has returned.
 *
 * This needs functions of 6.10 (fc7566ad0a82) and 6.14 (c8e2ee1f3df0), and a verifier
 * that allows calls of global functions in between, as since 6.15 (e2d8f560d178). Earlier
 * kernels run these programs with preemption disabled.
 */
#pragma once

#include "kernel.h"

void bpf_preempt_disable(void) __ksym __weak;
void bpf_preempt_enable(void) __ksym __weak;
void bpf_local_irq_save(unsigned long *flags) __ksym __weak;
void bpf_local_irq_restore(unsigned long *flags) __ksym __weak;

static __always_inline bool preemptible(void)
{
	return bpf_core_field_exists(struct bpf_subprog_info, might_sleep);
}

static __always_inline void hold_cpu(void)
{
	if (preemptible())
		bpf_preempt_disable();
}

static __always_inline void release_cpu(void)
{
	unsigned long flags;

	if (!preemptible())
		return;
	bpf_local_irq_save(&flags);
	bpf_preempt_enable();
	bpf_local_irq_restore(&flags);
}
