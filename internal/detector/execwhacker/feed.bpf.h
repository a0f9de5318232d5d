/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Feeds the texts of a command line to the walk, chunk by chunk.
 *
 * A command line can have 6 MiB, more than the verifier would follow in one loop. So the
 * work is cut into global functions, each a bounded loop around the next: the verifier
 * checks a global function once, not once a call (Linux 5.6, 51c39bb1d5d1), and no loop
 * helper is needed.
 */
#pragma once

#include "kernel.h"
#include "walk.bpf.h"

#define ARGV0_FIRST 64 /* bytes in which argv[0] ends, of nearly all execs */
#define MAX_CHUNKS 40  /* of the arguments in one call, of a path in all */
#define MAX_CALLS 40   /* so of nearly 6.25 MiB: the kernel allows 6 MiB of arguments */

/* How many bytes of a word are before its first NUL, 8 if it has none. */
static __always_inline u64 before_nul(u64 word)
{
	u64 nul = first_nul(word);

	if (!nul)
		return 8;
	return (((nul - 1) & ~nul) >> 7) * 0x0001020304050608ULL >> 56;
}

/* How many of len bytes in buf are before the first NUL; len if none is among the first
 * most of them. */
static __always_inline u64 before_first_nul(struct walk *w, u64 from, u64 most, u64 len)
{
#pragma clang loop unroll(disable) /* code that no cache has costs more than a jump */
	for (u64 at = 0; at < most && at < len; at += 8) {
		u64 n = before_nul(*(u64 *)(w->buf + from + at));

		if (n < 8)
			return at + n < len ? at + n : len;
	}
	return len;
}

/* The same of up to NEAR bytes of the arguments' chunk. */
__noinline u32 find_nul_near(u32 slot, u64 from, u32 len)
{
	struct walk *w = walk_at(slot);

	return w ? before_first_nul(w, ARGS_AT + (from & (CHUNK - 1)), NEAR, len) : 0;
}

/* The same of all of it. */
__noinline u32 find_nul(u32 slot, u32 len)
{
	for (u32 at = 0; at < CHUNK && at < len; at += NEAR) {
		u32 most = len - at < NEAR ? len - at : NEAR, n = find_nul_near(slot, at, most);

		if (n < most)
			return at + n;
	}
	return len;
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

/* Of a judgement that may sleep: see later.bpf.h. */
static __always_inline long copy_later(void *to, u32 n, u64 from);
static __always_inline void feed_argv0_later(u32 slot);
static __always_inline void feed_args_later(u32 slot);

static __always_inline long copy_from_user(void *to, u32 n, u64 from, bool later)
{
	return later ? copy_later(to, n, from) : bpf_probe_read_user(to, n, (void *)from);
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

/* Not 0 if one of the bytes of a word is less than '0'. */
static __always_inline u64 other_bytes(u64 word)
{
	u64 high = 0x8080808080808080ULL;

	return ~(word | ((word & ~high) + 0x5050505050505050ULL)) & high;
}

/* Notes the runs in n bytes of buf, at most NEAR: three words in a row that have only bytes that
 * are '0' or greater, as a run of RunBytes in internal/match has. */
__noinline int note_near(u32 slot, u64 from, u64 n)
{
	struct walk *w = walk_at(slot);
	u64 last, before; /* not 0 if these words have another byte */

	if (!w)
		return 0;
	last = ~w->words & 1;
	before = ~w->words & 2;
	for (u64 i = 0; i < NEAR && i < n; i += sizeof(u64)) {
		u64 other = other_bytes(*(u64 *)(w->buf + ((from + i) & (2 * CHUNK - 1))));

		if (!(other | last | before))
			w->runs = 1;
		before = last;
		last = other;
	}
	w->words = !last | !before << 1;
	return 0;
}

/* Notes the runs in n bytes of buf, and in these and the chunk before. What is behind them in
 * buf is noted too, so a run may be seen where there is none. */
__noinline int note_words(u32 slot, u64 from, u64 n)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < CHUNK && i < n; i += NEAR)
		note_near(slot, from + i, n - i);
	w->words |= 3; /* the last two may go on in the next chunk */
	return 0;
}

#define RUN_BYTES 31 /* RunBytes in internal/match */

/* The same, if it matters. */
static __always_inline void note_runs(u32 slot, struct walk *w, u32 from, u32 n)
{
	if (!search_runs || w->runs | w->mode)
		return;
	if (n < RUN_BYTES && !w->words)
		w->words = 3; /* as note_words leaves it */
	else
		note_words(slot, from, n);
}

/* Walks through a chunk of argv[0] of n bytes that was read, and says whether argv[0]
 * ends in it. It is read to its end even if a ban has been found: there the subject's
 * arguments begin. */
static __always_inline bool take_argv0(u32 slot, struct walk *w, u64 n)
{
	u32 end = before_first_nul(w, ARGS_AT, ARGV0_FIRST, n);

	if (end >= n && n > ARGV0_FIRST)
		end = find_nul(slot, n);
	w->held = w->addr == w->args ? n : 0;
	w->pos = ARGS_AT;
	w->len = ARGS_AT + end;
	w->addr += n;
	w->rest_pos = w->len;
	note_runs(slot, w, ARGS_AT, n);
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
	note_runs(slot, w, ARGS_AT, n);
	pass(slot, w);
}

/* One of the two, for callers of which the verifier follows each state. Returns whether that was
 * the last chunk of argv[0]. */
__noinline int take_chunk(u32 slot, u32 n, u32 argv0)
{
	struct walk *w = walk_at(slot);

	if (!w || n > CHUNK)
		return 1;
	if (argv0)
		return take_argv0(slot, w, n);
	take_args(slot, w, n);
	return 0;
}

/* Walks through argv[0] from addr on, by MAX_CHUNKS at most. */
__noinline int feed_argv0(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < MAX_CHUNKS && w->addr < w->args_end; i++) {
		u64 n = read_args(w);

		if (!n || take_chunk(slot, n, true))
			return 0;
	}
	return 0;
}

static __always_inline long read_path(struct walk *w, u32 at, u32 size, u64 from)
{
	return w->path_in_user ? bpf_probe_read_user_str(w->buf + at, size, (void *)from)
			       : bpf_probe_read_kernel_str(w->buf + at, size, (void *)from);
}

/* Reads the path into buf, and returns how long it is: 0 if it is too long to stay there. The
 * kernel copies a string byte by byte, so a path that is short, as nearly all are, is not
 * read as one. */
static __always_inline u32 hold_path(struct walk *w)
{
	long n = PATH_FIRST;

	if (!w->path_in_user && !bpf_probe_read_kernel(w->buf + PATH_AT, PATH_FIRST, (void *)w->path))
		n = before_first_nul(w, PATH_AT, PATH_FIRST, PATH_FIRST);
	if (n < PATH_FIRST)
		return n;
	n = read_path(w, PATH_AT, PATH_HELD, w->path);
	return n > 0 && n < PATH_HELD ? n - 1 : 0;
}

/* Walks through a path that is too long to stay in buf. */
__noinline int feed_long_path(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->addr = w->path;
	w->runs = search_runs;
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

/* Walks through the path. */
static __always_inline void feed_path(u32 slot, struct walk *w)
{
	if (!w->path_len) {
		feed_long_path(slot);
		return;
	}
	w->pos = PATH_AT;
	w->len = PATH_AT + w->path_len;
	w->words = 0;
	note_runs(slot, w, PATH_AT, w->path_len);
	w->words = 0;
	pass(slot, w);
}

/* Whether what follows cannot change the result, or cannot be read. */
static __always_inline bool walk_is_over(struct walk *w)
{
	return w->kill | w->unreadable || (w->mode == ALLOWS && !allow_alive(w));
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

/* Walks through all of argv[0]. It nearly always ends in the first chunk. */
static __always_inline void feed_all_argv0(u32 slot, struct walk *w, bool later)
{
	w->addr = w->args;
	if (later) {
		feed_argv0_later(slot);
	} else {
		u64 n = read_args(w);

		if (n && take_argv0(slot, w, n))
			return;
		for (u64 i = 0; i < MAX_CALLS && !w->rest_read && !w->unreadable && w->addr < w->args_end; i++)
			feed_argv0(slot);
	}
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

/* Walks through the arguments behind argv[0]. */
static __always_inline void feed_arguments(u32 slot, struct walk *w, bool later)
{
	u64 end = w->args_end;

	w->addr = w->rest;
	if (w->without_text) {
		w->args_end = w->text;
		feed_rest(slot, w, later);
		w->args_end = end;
		w->addr = w->text_end;
	}
	if (!walk_is_over(w))
		feed_rest(slot, w, later);
}

/* Takes one byte: one that no rule has, or an edge if the table makes it one. Of
 * the four in each command line, nearly all need only the first lines. */
static __always_inline void feed_one(u32 slot, struct walk *w, u32 table)
{
	u64 next = w->window << 8 | (u8)(classes[0xff + table] >> w->shift);
	u32 misses = misses_after(w->misses, next);

	if (table && has_open(w))
		close_open(w);
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
