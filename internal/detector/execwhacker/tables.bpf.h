/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables of internal/match, for the walker in walk.bpf.h. tables.go sizes and
 * fills them.
 */
#pragma once

#include "kernel.h"

/* A state of the bans' automaton, in a double array. */
struct cell {
	u32 base;
	u32 check;
	u32 fail;
	u32 entry; /* the first of a list, 0 for none */
};

/* A ban that matches in a state: see Entry in internal/match. */
struct entry {
	u32 ban;
	u32 flags;
	u32 next;
};

enum {
	KILLS = 1 << 0,
	ENDS_WORD = 1 << 1,
	OPEN_END = 1 << 2,
	TRIGGERS = 1 << 3,
	SPARES_SHELLS = 1 << 4,
	SPARES_NODE_ROOT = 1 << 5,
	KILLS_IN_ENV = 1 << 6,
	OBSERVES_IN_ENV = 1 << 7,
};
#define MAX_ENTRIES 128 /* of a state: maxEntries in internal/match */

/* The numbers of the bans for the kill limit. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} limit_rules SEC(".maps");

/* Two rows' numbers: an array's element takes 8 bytes at least. */
struct allow_rows {
	u32 next[2];
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
	__type(value, struct entry);
} entries SEC(".maps");

/* The DFAs of the allow patterns. A row is a state: the row that follows for each class
 * of bytes, and 1 + the pattern that is accepted. Row 0 is dead. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct allow_rows);
} allow_rows SEC(".maps");

#define MAX_ALLOWS 4 /* MaxAllows in internal/match */
const volatile u32 allow_count;
const volatile u32 allow_start[MAX_ALLOWS];  /* row */
const volatile u32 allow_accept[MAX_ALLOWS]; /* where in a row */
const volatile u8 allow_columns[256][MAX_ALLOWS];

/* The DFAs of the expressions: Search in internal/match/bytedfa. A row is as above, with the
 * end of the text as a class more, and at its end the number of the set that is found. A row that
 * follows is marked if its set is not empty. */
#define FOUND (1U << 31)
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct allow_rows);
} search_rows SEC(".maps");

#define SET_WORDS 4 /* MaxSearch / 64 in internal/match/bytedfa */
struct part_set {
	u64 parts[SET_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct part_set);
} part_sets SEC(".maps");

/* A ban of expressions, which matches if all of its parts do. */
struct combination {
	struct part_set need;
	u32 ban;
	u32 flags;
};

#define MAX_COMBINATIONS 256 /* MaxCombinations in internal/match */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct combination);
} combinations SEC(".maps");

const volatile u32 combination_count;
const volatile u32 search_count;
const volatile u32 search_start[MAX_ALLOWS]; /* row */
const volatile u32 search_end[MAX_ALLOWS];   /* the class of the end, in a row */
const volatile u8 search_columns[256][MAX_ALLOWS];
const volatile bool search_runs; /* a run triggers the evaluation of expressions */
const volatile bool search_env;	 /* some bans are for the environment */

#define MAX_SHELLS 16
const volatile struct {
	u64 name; /* of at most 6 bytes, the last one lowest */
	u64 bits; /* its length; 0 for none */
} shells[MAX_SHELLS];

/* Which windows may begin a phrase: see Filter. */
#define FILTER_WORDS (1 << 16)
u64 filter[FILTER_WORDS];
const volatile u64 filter_last; /* the number of its last word */
const volatile u8 filter_drop;

/* For a pair of symbols (pair in internal/match) a bit for each place where no phrase has it: Misses of Filter. */
u8 pairs[1 << 13];

/*
 * What is known of each byte, then of as many edges: its symbol inside a word (bits 0 to 7), and
 * NO_WORD; the same in the upper half for the beginning of one.
 */
const volatile u32 classes[512];
#define ALL_EDGES 256
#define NO_WORD (1 << 15)	  /* no word character */
#define BEGINNING 16		  /* bits that a class must be shifted */
const volatile u32 prefix = 7;	  /* symbols, at most 7 */
const volatile bool ban_programs; /* some bans are of programs, by their names */
