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

static __always_inline void count(u32 which)
{
	u64 *n = bpf_map_lookup_elem(&counters, &which);

	if (n)
		(*n)++;
}
