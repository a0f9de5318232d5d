/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The matcher of internal/match in the kernel. What a command line means is in
 * docs/matching.md.
 *
 *	judge → search_bans, search_name, search_allowed → feed_argv0, feed_path, feed_args
 *	      (a text: feed.bpf.h) → drain (a chunk: walk.bpf.h)
 */
#pragma once

#include "kernel.h"
#include "verdict.h"
#include "feed.bpf.h"

/* Before the first symbol of a text. */
static __always_inline void restart(struct walk *w)
{
	w->state = 0;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	w->pending = 0;
}

/* Searches the bans in argv[0] and in the subject: walk->kill, walk->observe.
 * It corresponds to search in internal/match. */
static __always_inline void search_bans(u32 slot, struct walk *w, bool later)
{
	u32 state, misses, shift, pending;
	u64 window;

	restart(w);
	w->rest = w->args_end;
	w->rest_read = 0;
	feed_one(slot, w, ALL_EDGES);
	if (w->args < w->args_end) {
		w->args_end--; /* the last NUL */
		w->rest = w->args_end;
		feed_all_argv0(slot, w, later);
	}
	feed_one(slot, w, ALL_EDGES);
	feed_path(slot, w);

	/* A program's name ends here, but the subject goes on: look ahead. */
	state = w->state;
	window = w->window;
	misses = w->misses;
	shift = w->shift;
	pending = w->pending;
	feed_one(slot, w, ALL_EDGES);
	w->state = state;
	w->window = window;
	w->misses = misses;
	w->shift = shift;
	w->pending = pending;

	if (w->rest < w->args_end) {
		w->pos = w->rest_pos;
		w->len = w->rest_pos + (w->rest_read - w->rest);
		pass(slot, w);
		w->addr = w->rest_read;
		feed_rest(slot, w, later);
	}
	feed_one(slot, w, 0);
}

#define FILE_NAME 256 /* NAME_MAX and a NUL */

/* Whether the path in buf ends with the name of the file. */
static __always_inline bool ends_with_name(struct walk *w)
{
	u64 len = w->name_len, at = w->path_len - len;

	if (w->path_len < len || len >= FILE_NAME)
		return false;
	barrier_var(len); /* or the compiler drops a bound of the loop, which kernels before 6.8 want */
	if (at && w->buf[PATH_AT + ((at - 1) & (PATH_HELD - 1))] != '/')
		return false;
	if (bpf_probe_read_kernel(w->buf + OTHER_AT, len & (FILE_NAME - 1), (void *)w->name))
		return false;
	for (u64 i = 0; i < FILE_NAME && i < len; i += 8) {
		u64 differ =
			*(u64 *)(w->buf + PATH_AT + ((at + i) & (PATH_HELD - 1))) ^ *(u64 *)(w->buf + OTHER_AT + i);

		if (len - i < 8)
			differ <<= 64 - 8 * (len - i);
		if (differ)
			return false;
	}
	return true;
}

/* Searches the bans in the name of the file: it is not what the path ends with, but what
 * the link leads to, or the descriptor. It corresponds to JudgeNamed in internal/match. */
__noinline int search_name(u32 slot)
{
	struct walk *w = walk_at(slot);
	long n;

	if (!w)
		return 0;
	n = bpf_probe_read_kernel_str(w->buf + OTHER_AT, FILE_NAME, (void *)w->name);
	if (n <= 1) {
		w->name = 0;
		return 0;
	}
	restart(w);
	feed_one(slot, w, ALL_EDGES);
	w->pos = OTHER_AT;
	w->len = OTHER_AT + n - 1;
	pass(slot, w);
	feed_one(slot, w, ALL_EDGES);
	feed_one(slot, w, 0);
	return 0;
}

/* Searches an allow pattern that matches the subject, as far as one still may.
 * Returns 1 + the pattern, 0 for none. */
static __always_inline u32 search_allows(u32 slot, struct walk *w, bool later)
{
	u32 pattern = 0;

	w->kill = 0;
	w->allow = true;
	for (int k = 0; k < MAX_ALLOWS; k++)
		w->rows[k] = allow_count > k ? allow_start[k] : 0;
	if (allow_alive(w))
		feed_path(slot, w);
	w->addr = w->rest;
	if (allow_alive(w))
		feed_rest(slot, w, later);
	w->allow = false;
	if (w->unreadable)
		return 0;
#pragma unroll
	for (int k = 0; k < MAX_ALLOWS; k++)
		if (!pattern && w->rows[k])
			pattern = allow_entry(w->rows[k] + allow_accept[k]);
	return pattern;
}

__noinline u32 search_allowed(u32 slot)
{
	struct walk *w = walk_at(slot);

	return w ? search_allows(slot, w, false) : 0;
}

/* Puts the command line of a task into its walk. */
static __always_inline void begin_walk(struct walk *w, struct task_struct *task, const char *path)
{
	w->path = (u64)path;
	w->name = 0;
	w->path_in_user = false;
	w->path_len = 0;
	w->held = 0;
	w->args = task->mm->arg_start;
	w->args_end = task->mm->arg_end;
}

/* Has the name of the file that the task executes judged as well. */
static __always_inline void add_name(struct walk *w, struct task_struct *task)
{
	struct dentry *dentry = task->mm->exe_file->f_path.dentry;

	w->name = (u64)dentry->d_name.name;
	w->name_len = dentry->d_name.len;
}

/* Judges the command line that the caller has put into the slot's walk. *ban is 1 +
 * the ban that decides, *pattern 1 + the allow pattern; 0 where there is none. later is
 * for callers that may sleep. */
static __always_inline enum outcome judge(u32 slot, struct walk *w, bool later, u32 *ban, u32 *pattern)
{
	u32 kill;

	w->path_len = hold_path(w);
	w->kill = 0;
	w->observe = 0;
	w->allow = false;
	w->unreadable = false;
	search_bans(slot, w, later);
	if (w->name && !w->kill) {
		if (ends_with_name(w))
			w->name = 0;
		else
			search_name(slot);
	}
	kill = w->kill;
	*ban = kill ? kill : w->observe;
	*pattern = 0;
	/* What was not read may hold a ban that kills. */
	if (!kill && w->unreadable)
		return UNDECIDED;
	if (!*ban)
		return NO_MATCH;
	*pattern = later ? search_allows(slot, w, true) : search_allowed(slot);
	if (*pattern)
		return ALLOWED;
	/* It may also make an allow pattern match, if one still can. */
	if (w->unreadable && allow_alive(w))
		return UNDECIDED;
	return kill ? BANNED : OBSERVED;
}
