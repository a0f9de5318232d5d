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
#include "verdict.bpf.h"
#include "preempt.h"

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
	bool named; /* whether the name of the file counts */
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
const volatile u32 later_share = 1; /* how many one pod or session has at most */
const volatile u32 later_first;

static __always_inline long copy_later(void *to, u32 n, u64 from)
{
	return bpf_copy_from_user_task(to, n, (void *)from, bpf_get_current_task_btf(), 0);
}

struct later_turn {
	u32 slot;
	bool argv0;
};

static long later_chunk(u64 i, struct later_turn *turn)
{
	struct walk *w = walk_at(turn->slot);
	u64 n, last;

	if (!w || w->addr >= w->args_end || (!turn->argv0 && walk_is_over(w)))
		return 1;
	n = next_in_page(w);
	if (copy_later(w->buf + ARGS_AT, n, w->addr)) {
		w->unreadable = true;
		return 1;
	}
	last = take_chunk(turn->slot, n, turn->argv0);
	barrier_var(last); /* the verifier wants to see 0 or 1 */
	return last & 1;
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

static long later_text(u64 i, u32 *slot)
{
	struct walk *w = walk_at(*slot);

	return !w || !follow_text(*slot, w, true);
}

static __always_inline void follow_text_later(u32 slot)
{
	bpf_loop(TEXT_CHUNKS, later_text, &slot, 0);
}

/* A loop of one turn, so that the verifier follows a search only once. */
static long later_search(u64 i, u32 *slot)
{
	struct walk *w = walk_at(*slot);

	if (w)
		search(*slot, w, true);
	return 0;
}

static __always_inline void search_later(u32 slot)
{
	bpf_loop(1, later_search, &slot, 0);
}

static long later_fold(u64 i, u32 *slot)
{
	struct walk *w = walk_at(*slot);
	u64 from;

	if (!w)
		return 1;
	from = w->args + i * CHUNK;
	if (from >= w->area_end)
		return 1;
	w->folded = fold_chunk(*slot, w, from, w->area_end, true);
	return !w->folded;
}

/* Makes the fingerprint, for which the CPU cannot be held. */
static __always_inline void fold_later(u32 slot, struct walk *w)
{
	begin_fingerprint(w);
	w->folded = true;
	bpf_loop(FINGERPRINT_CHUNKS, later_fold, &slot, 0);
	if (!w->folded)
		w->hash = 0;
	w->folded = true; /* as far as it can be */
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

struct later_take {
	u32 at; /* where to look next */
	struct later *free;
};

static long try_later(u64 i, struct later_take *s)
{
	u32 at = s->at++ % later_count;
	struct later *l = bpf_map_lookup_elem(&laters, &at);

	if (!l || l->busy || __sync_val_compare_and_swap(&l->busy, 0, 1))
		return 0;
	s->free = l;
	return 1;
}

/* Where the share of the current task begins: that of its pod, or of its session or service,
 * which are at the third level of the cgroups (or above it). Shares overlap, but hardly two
 * are the same. */
static __always_inline u32 later_share_of_current(void)
{
	u64 id = bpf_get_current_ancestor_cgroup_id(3);

	if (!id)
		id = bpf_get_current_cgroup_id();
	return id * 0x9E3779B97F4A7C15ULL >> 32;
}

/* Takes a free one of the share of the current task, 0 if there is none. */
static __always_inline struct later *take_later(void)
{
	struct later_take s = {.at = later_share_of_current()};

	bpf_loop(later_share, try_later, &s, 0);
	return s.free;
}

/* Whether it is not known yet if the container of a banned program is exempt. */
static __always_inline bool awaits_container(struct task_struct *task, enum outcome outcome)
{
	struct cgroup_key key = {};
	struct exemptions *e;

	if (outcome != BANNED)
		return false;
	e = exemptions();
	return e && e->by_cgroup && classify(task, &key) == CGROUP_UNKNOWN;
}

/* How long a banned program waits for user space to say whether its container is
 * exempt, before its first instruction: what user space needs is a few milliseconds, on a
 * machine that is not busy. */
#define AWAIT_NS 1000000000ULL
#define AWAIT_TURNS (1 << 23)

struct await {
	u64 until_ns;
	u64 address; /* that may be read */
};

/* Yields the CPU, as bpf_copy_from_user_task does. */
static long await_turn(u64 i, struct await *a)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u8 byte;

	bpf_copy_from_user_task(&byte, 1, (void *)a->address, task, 0);
	return bpf_ktime_get_ns() > a->until_ns || !awaits_container(task, BANNED);
}

static __always_inline void await_container(struct task_struct *task, struct walk *w, u32 ban)
{
	struct verdict v = {.outcome = AWAITED, .ban = ban};
	struct await a = {.until_ns = bpf_ktime_get_ns() + AWAIT_NS, .address = w->args};
	struct file_id file;

	identify_program(&file, task);
	hold_cpu();
	tell(&events, LOST_EVENT, task, w, &v, &file, 0);
	release_cpu();
	bpf_loop(AWAIT_TURNS, await_turn, &a, 0);
}

/* The judgement that was deferred, in the task itself. */
static int judge_later(struct bpf_map *map, void *key, void *value)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 ban, pattern, slot = later_first + *(u32 *)key;
	struct walk *w = walk_at(slot);
	struct later *l = value;
	enum outcome outcome;

	if (w && task->mm) {
		begin_walk(w, task, (const char *)l->path);
		w->began_ns = l->start;
		if (l->named)
			add_name(w, task);
		outcome = judge(slot, w, task, true, &ban, &pattern);
		if (outcome == UNDECIDED && is_dying(task))
			outcome = NO_MATCH;
		if (awaits_container(task, outcome))
			await_container(task, w, ban);
		fold_later(slot, w);
		hold_cpu();
		finish(slot, task, w, outcome, ban, pattern, exec_time(bpf_ktime_get_ns()));
		release_cpu();
	} else {
		hold_cpu();
		count(NO_MATCH); /* it dies without having run */
		release_cpu();
	}
	forget_later(l);
	return 0;
}

enum deferral {
	NEVER,
	BY_SIGNAL,	/* bpf_task_work_schedule_signal */
	BY_SIGNAL_IMPL, /* bpf_task_work_schedule_signal_impl */
};

/* Until the callback has judged, the record of the program before stands for this one: a scan must not
 * take it for one whose exec was not seen. */
static __always_inline void keep_record(struct task_struct *task)
{
	struct record *r = record_of(task->tgid);

	if (r && r->start_ns == task->start_boottime)
		r->exec_id = task->self_exec_id;
}

/* Has the callback judge, and says whether it will. */
static __always_inline bool defer(struct task_struct *task, struct walk *w, enum deferral by)
{
	struct later *l = take_later();
	long n;

	if (!l)
		return false;
	begin_clock(w);
	l->start = w->began_ns;
	l->named = w->name;
	n = bpf_probe_read_kernel_str(l->path, LATER_PATH, (void *)w->path);
	if (n > 0 && n < LATER_PATH) {
		keep_record(task);
		if (by == BY_SIGNAL && !bpf_task_work_schedule_signal(task, &l->work, &laters, judge_later))
			return true;
		if (by == BY_SIGNAL_IMPL &&
		    !bpf_task_work_schedule_signal_impl(task, &l->work, &laters, judge_later, 0))
			return true;
	}
	forget_later(l);
	return false;
}
