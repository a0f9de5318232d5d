/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dismisses the command lines in which no ban can begin, which are most of them. Right after an exec
 * the caches are cold, so code costs more than the number of its instructions: an exec runs through some
 * 600 of them here, and through 1,000 with the search of match.bpf.h.
 */
#pragma once

#include "kernel.h"
#include "feed.bpf.h"

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

/* Whether a phrase may begin in n bytes of buf, at most NEAR, or with an edge before them if edge is
 * not 0. The next call continues behind these bytes, if there are any. */
__noinline int may_begin(u32 slot, u64 from, u32 n, u32 edge)
{
	struct walk *w = walk_at(slot);
	struct trail t;
	const u8 *text;

	if (!w)
		return 1;
	text = w->buf + (from & (2 * CHUNK - 1));
	t.window = w->window;
	t.misses = w->misses;
	t.shift = w->shift;
	if (edge) {
		add_symbol(&t, classes[0xff + ALL_EDGES]);
		if (maybe_begins(t.window, t.misses))
			return 1;
	}
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < NEAR && i < n; i++) {
		add_symbol(&t, classes[text[i]]);
		if (maybe_begins(t.window, t.misses))
			return 1;
	}
	if (n) {
		w->window = t.window;
		w->misses = t.misses;
		w->shift = t.shift;
	}
	return 0;
}

/* The same of more bytes, by skip, which takes them by four. */
__noinline int may_begin_in_many(u32 slot, u64 from, u32 n)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 1;
	w->pos = from;
	w->len = from + n;
	for (u64 i = 0; i < CHUNK / SKIPS && w->pos < w->len; i++) {
		u32 pos = w->pos;

		skip(slot);
		if (w->pos - pos < SKIPS)
			break;
	}
	return w->pos < w->len;
}

/* Whether search would find nothing, because no phrase begins in the texts of search_bans, and nothing
 * else has to be evaluated. If not, search begins from the start. */
static __always_inline bool is_dismissed(u32 slot, struct walk *w)
{
	u64 n = w->area_end - w->args, argv0;

	if (search_env || !w->path_len || n - 2 >= CHUNK || (w->name && !ends_with_name(w)))
		return false;
	w->name = 0;
	w->addr = w->args;
	w->args_end = w->area_end - 1; /* without the last NUL */
	n = read_args(w);
	if (!n || w->args + n != w->args_end)
		return false;
	w->held = n;
	argv0 = before_first_nul(w, ARGS_AT, ARGV0_FIRST, n);
	if (argv0 >= n && n > ARGV0_FIRST)
		return false;
	w->runs = 0;
	w->words = 0;
	note_runs(slot, w, PATH_AT, w->path_len);
	w->words = 0;
	note_runs(slot, w, ARGS_AT, n);
	if (w->runs)
		return false;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	if (may_begin(slot, ARGS_AT, argv0, true) || may_begin(slot, PATH_AT, w->path_len, true) ||
	    may_begin(slot, ARGS_AT, 0, true))
		return false;
	w->buf[(ARGS_AT + n) & (2 * CHUNK - 1)] = 0xff; /* the byte that no rule has */
	n -= argv0 - 1;
	return !(n <= NEAR ? may_begin(slot, ARGS_AT + argv0, n, false) : may_begin_in_many(slot, ARGS_AT + argv0, n));
}
