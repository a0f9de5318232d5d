/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dismisses the command lines in which no ban can begin, which are most of them. Right after an exec
 * the caches are cold, so code costs more than the number of its instructions: an exec runs through some
 * 600 of them here, and through 1,000 with the search of match.bpf.h.
 */
#pragma once

#include "kernel.h"
#include "fingerprint.bpf.h"

#define FILE_NAME 256 /* NAME_MAX and a NUL */

/* What of the n bytes of two words differs, 0 if nothing. */
static __always_inline u64 differ(u64 a, u64 b, u64 n)
{
	return n < 8 ? (a ^ b) << (64 - 8 * n) : a ^ b;
}

static __always_inline u64 path_word(struct walk *w, u64 at)
{
	return *(u64 *)(w->buf + PATH_AT + (at & (PATH_HELD - 1)));
}

/* The name in the dentry, 0 if it is too long for that. */
static __always_inline const u64 *short_name(struct walk *w, struct task_struct *task)
{
	struct dentry *dentry = task->mm->exe_file->f_path.dentry;
	const void *name;

	if (bpf_core_field_exists(struct dentry___6_14, d_shortname))
		name = ((struct dentry___6_14 *)dentry)->d_shortname.string;
	else
		name = dentry->d_iname;
	return w->name == (u64)name ? name : 0;
}

/* Whether the path in buf ends with the name of the file, which task executes if it is not 0. */
static __always_inline bool ends_with_name(struct walk *w, struct task_struct *task)
{
	u64 len = w->name_len, at = w->path_len - len;
	const u64 *name;

	if (w->path_len < len || len - 1 >= FILE_NAME - 1)
		return false;
	barrier_var(len); /* or the compiler drops a bound of the loop, which kernels before 6.8 want */
	if (at && w->buf[PATH_AT + ((at - 1) & (PATH_HELD - 1))] != '/')
		return false;
	/* Nearly all names: loads cost less than the helper. */
	name = task && len <= 16 ? short_name(w, task) : 0;
	if (name)
		return !differ(path_word(w, at), name[0], len) &&
		       (len <= 8 || !differ(path_word(w, at + 8), name[1], len - 8));
	if (bpf_probe_read_kernel(w->buf + OTHER_AT, len & (FILE_NAME - 1), (void *)w->name))
		return false;
	for (u64 i = 0; i < FILE_NAME && i < len; i += 8)
		if (differ(path_word(w, at + i), *(u64 *)(w->buf + OTHER_AT + i), len - i))
			return false;
	return true;
}

enum edge {
	NO_EDGE,
	EDGE,
	EDGE_OR_NONE, /* behind a path: the arguments follow it with an edge and without */
};

/* Whether a phrase may begin in n bytes of buf, at most NEAR, or in the edge before them. The next call
 * continues behind them. */
__noinline int may_begin(u32 slot, u64 from, u32 n, enum edge edge)
{
	struct walk *w = walk_at(slot);
	struct trail t, next;
	const u8 *text;

	if (!w)
		return 1;
	text = w->buf + (from & (2 * CHUNK - 1));
	t.window = w->window;
	t.misses = w->misses;
	t.shift = w->shift;
	if (edge != NO_EDGE) {
		next = t;
		add_symbol(&next, classes[0xff + ALL_EDGES]);
		if (maybe_begins(next.window, next.misses))
			return 1;
		if (edge == EDGE)
			t = next;
	}
#pragma clang loop unroll(disable)
	for (u64 i = 0; i < NEAR && i < n; i++) {
		add_symbol(&t, classes[text[i]]);
		if (maybe_begins(t.window, t.misses))
			return 1;
	}
	w->window = t.window;
	w->misses = t.misses;
	w->shift = t.shift;
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
static __always_inline bool is_dismissed(u32 slot, struct walk *w, struct task_struct *task)
{
	u64 n = w->area_end - w->args, argv0;

	if (search_env || !w->path_len || n - 2 >= CHUNK - 1 || (w->name && !ends_with_name(w, task)))
		return false;
	w->name = 0;
	w->addr = w->args;
	w->args_end = w->area_end - 1; /* without the last NUL */
	n = read_args(w);
	if (!n || w->args + n != w->args_end)
		return false;
	argv0 = before_first_nul(w, ARGS_AT, ARGV0_FIRST, n);
	if (argv0 >= n && n > ARGV0_FIRST)
		return false;
	w->runs = 0;
	w->words = 0;
	note_runs(slot, w, PATH_AT, w->path_len);
	if (w->runs)
		return false;
	fold_held(slot, w, n);
	if (w->runs)
		return false;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	if (may_begin(slot, ARGS_AT, argv0, EDGE) || may_begin(slot, PATH_AT, w->path_len, EDGE))
		return false;
	w->buf[(ARGS_AT + n) & (2 * CHUNK - 1)] = 0xff; /* the byte that no rule has */
	n -= argv0 - 1;
	w->folded = !(may_begin(slot, ARGS_AT + argv0, n <= NEAR ? n : 0, EDGE_OR_NONE) ||
		      (n > NEAR && may_begin_in_many(slot, ARGS_AT + argv0, n)));
	return w->folded;
}
