/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The matcher of internal/match in the kernel. What a command line means is in
 * docs/matching.md.
 *
 * A command line can have 6 MiB, more than the verifier would follow in one
 * loop. So the work is cut into global functions, each a bounded loop around
 * the next: the verifier checks a global function once, not once a call
 * (Linux 5.6, 51c39bb1d5d1), and no loop helper is needed.
 *
 *	judge → search, search_name, search_allowed → feed_argv0, feed_path, feed_args
 *	      → drain (a chunk: walk.bpf.h)
 */
#pragma once

#include "kernel.h"
#include "walk.bpf.h"

#define MAX_CHUNKS 40 /* of the arguments in one call, of a path in all */
#define MAX_CALLS 40  /* so of nearly 6.25 MiB: the kernel allows 6 MiB of arguments */

enum outcome {
	NO_MATCH,
	ALLOWED,
	OBSERVED,
	BANNED,
	UNDECIDED, /* user space must judge */
	/* What becomes of BANNED and OBSERVED: see guard. */
	EXEMPT,
	UNKNOWN_CONTAINER, /* user space must say whether it is exempt */
	BRAKED,
	OUTCOMES,
	AWAITED, /* no outcome yet: user space is to find out about the container */
};

/* How many of len bytes of the arguments in buf are before the first NUL. */
__noinline u32 find_nul(u32 slot, u32 len)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->pos = len;
	for (u64 at = 0; at < CHUNK && at < len; at += 8) {
		u64 word = *(u64 *)(w->buf + ARGS_AT + at);

		if (word - 0x0101010101010101ULL & ~word & 0x8080808080808080ULL) {
			w->pos = at;
			break;
		}
	}
	for (u64 i = 0; i < 8 && w->pos < len; i++) {
		if (!w->buf[ARGS_AT + (w->pos & (CHUNK - 1))])
			break;
		w->pos++;
	}
	return w->pos;
}

/* Bytes of the arguments' next chunk, at most CHUNK. */
static __always_inline u64 next_chunk(struct walk *w, u64 most)
{
	u64 n = w->args_end - w->addr;

	if (n > most)
		n = most;
	/* Kernels before 6.8 learn nothing from comparing two numbers, so the compiler
	 * must not. */
	barrier_var(n);
	return n & (2 * CHUNK - 1);
}

/* To where a page may end: of two pages one may be readable alone. */
static __always_inline u64 next_in_page(struct walk *w)
{
	return next_chunk(w, CHUNK - (w->addr & (CHUNK - 1)));
}

/* Reads a chunk of the arguments, and returns how long it is, 0 if it cannot be read. */
static __always_inline u64 read_args(struct walk *w)
{
	u64 n = next_chunk(w, CHUNK);

	if (!bpf_probe_read_user(w->buf + ARGS_AT, n, (void *)w->addr))
		return n;
	n = next_in_page(w);
	if (!bpf_probe_read_user(w->buf + ARGS_AT, n, (void *)w->addr))
		return n;
	w->unreadable = true;
	return 0;
}

/* Walks through a chunk of argv[0] of n bytes that was read, and says whether argv[0]
 * ends in it. It is read to its end even if a ban has been found: there the subject's
 * arguments begin. */
static __always_inline bool take_argv0(u32 slot, struct walk *w, u64 n)
{
	u32 end = find_nul(slot, n);

	w->held = w->addr == w->args ? n : 0;
	w->pos = ARGS_AT;
	w->len = ARGS_AT + end;
	w->addr += n;
	w->rest_pos = w->len;
	if (!w->kill)
		pass(slot, w);
	if (end >= n)
		return false;
	w->rest = w->addr - n + end;
	w->rest_read = w->addr;
	return true;
}

/* The same for the arguments behind it; a NUL in them is a space. */
static __always_inline void take_args(u32 slot, struct walk *w, u64 n)
{
	w->held = 0;
	w->pos = ARGS_AT;
	w->len = ARGS_AT + n;
	w->addr += n;
	pass(slot, w);
}

/* Walks through argv[0] from addr on, by MAX_CHUNKS at most. */
__noinline int feed_argv0(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < MAX_CHUNKS && w->addr < w->args_end; i++) {
		u64 n = read_args(w);

		if (!n || take_argv0(slot, w, n))
			return 0;
	}
	return 0;
}

static __always_inline long read_path(struct walk *w, u32 at, u32 size, u64 from)
{
	return w->path_in_user ? bpf_probe_read_user_str(w->buf + at, size, (void *)from)
			       : bpf_probe_read_kernel_str(w->buf + at, size, (void *)from);
}

/* Walks through the path. */
__noinline int feed_path(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	if (w->path_len) {
		w->pos = PATH_AT;
		w->len = PATH_AT + w->path_len;
		pass(slot, w);
		return 0;
	}
	w->addr = w->path;
	for (u64 i = 0; i < MAX_CHUNKS && !w->kill; i++) {
		long n = read_path(w, OTHER_AT, OTHER_CHUNK, w->addr);
		bool last = n < OTHER_CHUNK;

		if (n < 0)
			break;
		/* The NUL, which Linux 5.10 does not count for an empty string. */
		if (n > 0)
			n--;
		w->pos = OTHER_AT;
		w->len = OTHER_AT + n;
		pass(slot, w);
		w->addr += n;
		if (last)
			return 0;
	}
	if (!w->kill)
		w->unreadable = true;
	return 0;
}

/* Whether what follows cannot change the result, or cannot be read. */
static __always_inline bool walk_is_over(struct walk *w)
{
	return w->kill || w->unreadable || (w->allow && !allow_alive(w));
}

/* Walks through the arguments from addr on, by MAX_CHUNKS at most. */
__noinline int feed_args(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < MAX_CHUNKS && !walk_is_over(w) && w->addr < w->args_end; i++) {
		u64 n = read_args(w);

		if (!n)
			return 0;
		take_args(slot, w, n);
	}
	return 0;
}

/* Of a judgement that may sleep: see later.bpf.h. */
static __always_inline void feed_argv0_later(u32 slot);
static __always_inline void feed_args_later(u32 slot);

/* Walks through all of argv[0]. */
static __always_inline void feed_all_argv0(u32 slot, struct walk *w, bool later)
{
	w->addr = w->args;
	if (later)
		feed_argv0_later(slot);
	else
		for (u64 i = 0; i < MAX_CALLS && !w->rest_read && !w->unreadable && w->addr < w->args_end; i++)
			feed_argv0(slot);
	if (!w->rest_read && w->addr < w->args_end)
		w->unreadable = true;
}

/* Walks through the arguments from addr on, to their end. */
static __always_inline void feed_rest(u32 slot, struct walk *w, bool later)
{
	if (later)
		feed_args_later(slot);
	else
		for (u64 i = 0; i < MAX_CALLS && !walk_is_over(w) && w->addr < w->args_end; i++)
			feed_args(slot);
	if (!walk_is_over(w) && w->addr < w->args_end)
		w->unreadable = true;
}

/* Takes one byte: one that no rule has, or an edge if the table makes it one. Of
 * the four in each command line, nearly all need only the first lines. */
static __always_inline void feed_one(u32 slot, struct walk *w, u32 table)
{
	u32 class = classes[0xff + table], known = class >> w->shift, misses = misses_after(w->misses, known);
	u64 next = w->window << 8 | (u8)known;

	if (!w->state && !w->pending && !maybe_begins(next, misses)) {
		w->window = next;
		w->misses = misses;
		w->shift = BEGINNING;
		return;
	}
	w->buf[EDGE_AT] = 0xff;
	w->pos = EDGE_AT;
	w->len = EDGE_AT + 1;
	w->table = table;
	pass(slot, w);
	w->table = 0;
}

/* Searches the bans in argv[0] and in the subject: walk->kill, walk->observe.
 * Its twin is search in internal/match. */
static __always_inline void search_bans(u32 slot, struct walk *w, bool later)
{
	u32 state, misses, shift, pending;
	u64 window;

	w->state = 0;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	w->pending = 0;
	w->rest = w->args_end;
	w->rest_read = 0;
	feed_one(slot, w, ALL_EDGES);
	if (w->args < w->args_end) {
		w->args_end--; /* the last NUL */
		w->rest = w->args_end;
		feed_all_argv0(slot, w, later);
	}
	feed_one(slot, w, ALL_EDGES);
	feed_path(slot);

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

/* Reads the name of the file, and says whether it is not what the path ends with: that
 * is the name of a link, or of a descriptor. */
__noinline int named_otherwise(u32 slot)
{
	struct walk *w = walk_at(slot);
	u64 at, len;
	long n;

	if (!w)
		return 0;
	n = bpf_probe_read_kernel_str(w->buf + OTHER_AT, FILE_NAME, (void *)w->name);
	if (n <= 1)
		return 0;
	len = n - 1;
	w->name_len = len;
	if (w->path_len < len)
		return 1;
	at = w->path_len - len;
	if (at && w->buf[PATH_AT + ((at - 1) & (PATH_HELD - 1))] != '/')
		return 1;
	for (u64 i = 0; i < FILE_NAME && i < len; i += 8) {
		u64 differ =
			*(u64 *)(w->buf + PATH_AT + ((at + i) & (PATH_HELD - 1))) ^ *(u64 *)(w->buf + OTHER_AT + i);

		if (len - i < 8)
			differ <<= 64 - 8 * (len - i);
		if (differ)
			return 1;
	}
	return 0;
}

/* Searches the bans in that name. Its twin is JudgeNamed in internal/match. */
__noinline int search_name(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->state = 0;
	w->window = ~0ULL;
	w->misses = 0;
	w->shift = BEGINNING;
	w->pending = 0;
	feed_one(slot, w, ALL_EDGES);
	w->pos = OTHER_AT;
	w->len = OTHER_AT + w->name_len;
	pass(slot, w);
	feed_one(slot, w, ALL_EDGES);
	feed_one(slot, w, 0);
	return 0;
}

__noinline int search(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (w)
		search_bans(slot, w, false);
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
		feed_path(slot);
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

/* The name of the file that it executes. */
static __always_inline u64 file_name(struct task_struct *task)
{
	return (u64)task->mm->exe_file->f_path.dentry->d_name.name;
}

/* Judges the command line that the caller has put into the slot's walk. *ban is 1 +
 * the ban that decides, *pattern 1 + the allow pattern; 0 where there is none. later is
 * for callers that may sleep. */
static __always_inline enum outcome judge(u32 slot, struct walk *w, bool later, u32 *ban, u32 *pattern)
{
	long n = read_path(w, PATH_AT, PATH_HELD, w->path);
	u32 kill;

	w->path_len = n > 0 && n < PATH_HELD ? n - 1 : 0;
	w->kill = 0;
	w->observe = 0;
	w->allow = false;
	w->unreadable = false;
	if (later)
		search_bans(slot, w, true);
	else
		search(slot);
	if (w->name && !w->kill) {
		if (named_otherwise(slot))
			search_name(slot);
		else
			w->name = 0;
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
