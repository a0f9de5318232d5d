/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of internal/match, for the walker in match.bpf.h. tables.go sizes and
 * fills them.
 */
#pragma once

#include "kernel.h"

/* A state of the bans' automaton, in a double array. */
struct cell {
	u32 base;
	u32 check;
	u32 fail;
	u32 found;
};

struct found {
	u32 kill;
	u32 observe;
	u32 word_kill;
	u32 word_observe;
};

struct allow {
	u32 start;  /* row in allow_rows of the first state */
	u32 accept; /* column with 1 + the accepting pattern, or 0 */
	u8 column[256]; /* of a byte */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cell);
} cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct found);
} founds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct allow);
} allows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32); /* the next row */
} allow_rows SEC(".maps");

/* Which windows may begin a phrase: see Filter. */
#define FILTER_WORDS (1 << 16)
u64 filter[FILTER_WORDS];
const volatile u64 filter_last; /* the number of its last word */
const volatile u8 filter_drop;
const volatile bool filter_first[256];

/* Of each byte; the upper half makes each byte an edge. */
const volatile u32 classes[512];
#define ALL_EDGES 256
const volatile u32 prefix = 8; /* symbols, at most 8 */
const volatile u32 allow_count;
const volatile bool allow_large; /* some patterns only user space can judge */
