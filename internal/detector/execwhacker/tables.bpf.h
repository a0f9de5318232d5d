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
	u32 found;
};

struct found {
	u32 kill;
	u32 observe;
	u32 word_kill;
	u32 word_observe;
};

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
	__type(value, struct found);
} founds SEC(".maps");

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

/* Which windows may begin a phrase: see Filter. */
#define FILTER_WORDS (1 << 16)
u64 filter[FILTER_WORDS];
const volatile u64 filter_last; /* the number of its last word */
const volatile u8 filter_drop;

/*
 * What is known of each byte, then of as many edges: as a symbol inside a word (bits 0 to
 * 7) the places where no phrase has that (8 to 14), and NO_WORD; the same in the upper
 * half as the symbol at the beginning of one.
 */
const volatile u32 classes[512];
#define ALL_EDGES 256
#define NO_WORD (1 << 15)	  /* no word character */
#define BEGINNING 16		  /* bits that a class must be shifted */
const volatile u32 prefix = 7;	  /* symbols, at most 7 */
const volatile bool ban_programs; /* some bans are of programs, by their names */
