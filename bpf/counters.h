/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters that are exact, whatever becomes of events. */
#pragma once

#include "kernel.h"

#ifndef MAX_COUNTERS
#define MAX_COUNTERS 32
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_COUNTERS);
	__type(key, u32);
	__type(value, u64);
} counters SEC(".maps");

/*
 * A program that defines COUNTERS_ATOMIC can be interrupted or preempted here by another that counts on this
 * CPU: who goes on later would write back an old value. Others run with preemption disabled.
 */
static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (!n)
		return;
#ifdef COUNTERS_ATOMIC
	__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
#else
	(*n)++;
#endif
}
