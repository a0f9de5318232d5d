/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Judgements that are made in the task itself, before it runs its first instruction, by
 * a callback that may sleep (BPF task work, Linux 6.18). There the CPU is not held, and
 * arguments that are not in memory are read as well.
 *
 * For long arguments, and for those that the hook cannot read. Where that cannot be
 * arranged the hook judges, completely.
 *
 * What is judged is copied chunk by chunk, and yields the CPU at each: of the helpers
 * that read user memory, only bpf_copy_from_user_task does.
 */
#pragma once

#include "kernel.h"
#include "match.bpf.h"

/* Bytes of arguments that are judged in the hook. At 120 ns a byte, the slowest that
 * was measured, they take a millisecond. */
#define MAX_HELD 8192

#define LATER_PATH 4352 /* "/dev/fd/N/" and 4,095 bytes */

struct bpf_task_work {
	u64 __opaque;
} __attribute__((aligned(8)));

/* Defined, or kernels with the functions below refuse their types. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct bpf_map {
	u32 id;
};
#pragma clang attribute pop

typedef int later_callback(struct bpf_map *map, void *key, void *value);

/* 7.0 has the first. The second is 6.18's, and of another type from 7.0 on. So each has
 * a program of its own, of which the loader takes one. */
int bpf_task_work_schedule_signal(struct task_struct *task, struct bpf_task_work *work, void *map,
				  later_callback *callback) __ksym __weak;
int bpf_task_work_schedule_signal_impl(struct task_struct *task, struct bpf_task_work *work, void *map,
				       later_callback *callback, void *aux) __ksym __weak;

/* A judgement under way. Its walk is that of the slot later_first + its index. */
struct later {
	struct bpf_task_work work;
	u64 start;
	u32 busy;
	bool named; /* whether the walk has a name */
	u8 path[LATER_PATH];
};

/* All generations of the rules have this one: when the last reference of user space to
 * it goes, the kernel drops what has not begun. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct later);
} laters SEC(".maps");

const volatile u32 later_count = 1;
const volatile u32 later_first;

struct later_turn {
	u32 slot;
	bool argv0;
};

static long later_chunk(u64 i, struct later_turn *turn)
{
	struct walk *w = walk_at(turn->slot);
	u64 n;

	if (!w || w->addr >= w->args_end || (!turn->argv0 && walk_is_over(w)))
		return 1;
	n = next_chunk(w);
	if (bpf_copy_from_user_task(w->buf, n, (void *)w->addr, bpf_get_current_task_btf(), 0)) {
		w->unreadable = true;
		return 1;
	}
	if (turn->argv0)
		return take_argv0(turn->slot, w, n);
	take_args(turn->slot, w, n);
	return 0;
}

static __always_inline void feed_argv0_later(u32 slot)
{
	struct later_turn turn = {.slot = slot, .argv0 = true};

	bpf_loop(MAX_CALLS * MAX_CHUNKS, later_chunk, &turn, 0);
}

static __always_inline void feed_args_later(u32 slot)
{
	struct later_turn turn = {.slot = slot};

	bpf_loop(MAX_CALLS * MAX_CHUNKS, later_chunk, &turn, 0);
}

#define SIGNAL_GROUP_EXIT 4 /* include/linux/sched/signal.h */

/* Whether the task dies before it runs: then its memory cannot be read any more. */
static __always_inline bool is_dying(struct task_struct *task)
{
	return task->signal->flags & SIGNAL_GROUP_EXIT;
}

static __always_inline void forget_later(struct later *l)
{
	__sync_val_compare_and_swap(&l->busy, 1, 0);
}

struct later_search {
	u32 at; /* where to look next */
	struct later *free;
};

static long try_later(u64 i, struct later_search *s)
{
	u32 at = s->at++ % later_count;
	struct later *l = bpf_map_lookup_elem(&laters, &at);

	if (!l || l->busy || __sync_val_compare_and_swap(&l->busy, 0, 1))
		return 0;
	s->free = l;
	return 1;
}

/* Takes a free one, 0 if there is none. */
static __always_inline struct later *take_later(u32 seed)
{
	struct later_search s = {.at = seed};

	bpf_loop(later_count, try_later, &s, 0);
	return s.free;
}
