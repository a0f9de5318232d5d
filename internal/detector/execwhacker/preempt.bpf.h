/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * While a program runs at a tracepoint, the kernel skips it for whoever else comes
 * there on the same CPU, and since 7.0 it may let others run there (a46023d5616e).
 * So preemption is off during the judgement. It must not take place either where it
 * is allowed again, still in the program: with interrupts off, it waits for the next
 * occasion.
 *
 * That needs functions of 6.10 (fc7566ad0a82) and 6.14 (c8e2ee1f3df0), and a verifier
 * that lets global functions be called in between, as since 6.15 (e2d8f560d178).
 * Before, preemption was off already.
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
