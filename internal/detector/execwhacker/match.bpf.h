/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The matcher of internal/match in the kernel: the same tables, the same
 * steps. What a command line means is in docs/matching.md.
 *
 * A command line can have 6 MiB, more than the verifier would follow in one
 * loop. So the work is cut into global functions, each a bounded loop around
 * the next: the verifier checks a global function once, not once a call
 * (Linux 5.6, 51c39bb1d5d1), and no loop helper is needed.
 *
 *	judge → search, search_allowed → feed_argv0, feed_path, feed_args
 *	      → drain (a chunk) → skip, walk_bans → begin; walk_allow
 */
#pragma once

#include "kernel.h"
#include "tables.bpf.h"

#define BETWEEN 8
#define HASH_FACTOR 0x9e3779b97f4a7c15ULL

#define CHUNK 4096 /* bytes read at once */
#define SKIPS 512  /* bytes of a skip */
#define STEPS 64   /* of a walk through an automaton */

/*
 * Walks of a chunk. Each byte of it is a step, and so is each failure. A failure
 * moves the beginning of what the state stands for forwards, and so does entering
 * the automaton, at the depth of the prefix, than which no state is less deep. That
 * beginning lies in the chunk, or before it by the longest phrase at most. So a
 * chunk takes MAX_STEPS at most, however it is made.
 *
 * A walk that has taken STEPS / 2 may return to have bytes skipped, and the first
 * QUICK_WALKS may at once.
 */
#define MAX_PHRASE (4096 + 2) /* symbols: MaxTextBytes in internal/rules, two edges */
#define MAX_STEPS (2 * CHUNK + MAX_PHRASE)
#define QUICK_WALKS (CHUNK / 32)
#define MAX_WALKS (QUICK_WALKS + MAX_STEPS / (STEPS / 2) + 1)

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

/* One walk through one command line. */
struct walk {
	/* the command line */
	u64 path;
	u64 name; /* of the file, if the path leads to one of another name; else 0 */
	u64 args;
	u64 args_end;
	u64 rest;      /* behind argv[0], from the NUL between them */
	u64 rest_read; /* up to where that was read with the end of argv[0] */
	u32 rest_pos;  /* and where it is in buf */
	u32 path_pos;  /* where in buf the path is read to */
	bool path_in_user;
	u64 addr; /* of the next chunk of the text */
	/* the chunk in buf: what is still to be walked through */
	u32 pos;
	u32 len;
	u32 table; /* of classes: 0 or ALL_EDGES */
	/* in the bans' automaton */
	u32 state;
	u64 window; /* the last 8 symbols */
	u32 shift;  /* for the class of the next byte */
	u32 pending;
	u32 kill;
	u32 observe;
	/* in the allow patterns' */
	bool allow; /* whether these are walked through */
	u32 rows[MAX_ALLOWS]; /* 0 for one that is dead */
	bool unreadable;
	/* A chunk of the arguments, and close behind it one of the path, so that few
	 * lines of the cache are touched. */
	u8 buf[2 * CHUNK + SKIPS] __attribute__((aligned(8)));
};

#define EDGE_AT (2 * CHUNK - 1) /* where the NUL of a path may be */


/* By slot. Each CPU has the one of its number, since nobody else runs on it while it
 * is held (see hold_cpu). A global function may take no pointer to a walk on Linux
 * 5.10, so they take the slot. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct walk);
} walks SEC(".maps");

static __always_inline struct walk *walk_at(u32 slot)
{
	return bpf_map_lookup_elem(&walks, &slot);
}

/* Filter.has in internal/match. 16 bits of a hash number at most FILTER_WORDS. */
static __always_inline bool maybe_begins(u64 window)
{
	u64 h, bits;

	window <<= filter_drop;
	if (!filter_first[window >> 56])
		return false;
	h = window * HASH_FACTOR;
	bits = 1ULL << (h >> 42 & 63) | 1ULL << (h >> 36 & 63);
	return (filter[h >> 48 & filter_last] & bits) == bits;
}

/* In 64 bits and masked, or kernels before 6.2 lose the bounds. */
static __always_inline u32 class_at(struct walk *w, u64 pos, u64 table)
{
	return classes[(w->buf[pos & (2 * CHUNK - 1)] + table) & (2 * ALL_EDGES - 1)];
}

/* Takes up to SKIPS bytes of the chunk outside the automaton, none of them an
 * edge, and stops before one with which a phrase may begin. Nearly every byte
 * goes this way. */
__noinline int skip(u32 slot)
{
	struct walk *w = walk_at(slot);
	u32 left, shift;
	u64 window, i;
	u8 *text;

	if (!w || w->pos >= w->len)
		return 0;
	text = w->buf + (w->pos & (2 * CHUNK - 1));
	left = w->len - w->pos;
	shift = w->shift;
	window = w->window;
	for (i = 0; i < SKIPS && i < left; i++) {
		u32 class = classes[text[i]];
		u64 next = window << 8 | (u8)(class >> shift);

		if (maybe_begins(next))
			break;
		window = next;
		shift = class >> 16;
	}
	w->pos += i;
	w->shift = shift;
	w->window = window;
	return 0;
}

static __always_inline struct cell *follow(u32 state, u32 base, u8 sym, u32 *next)
{
	struct cell *c;

	*next = base + sym;
	c = bpf_map_lookup_elem(&cells, next);
	return c && c->check == state ? c : 0;
}

/* The state to which the window's symbols lead from the root, 0 if none. */
__noinline u32 begin(u64 window)
{
	u32 state = 0;
	struct cell *c = bpf_map_lookup_elem(&cells, &state);

	for (int i = 7; i >= 0; i--) {
		if (!c)
			return 0;
		if (i < prefix)
			c = follow(state, c->base, window >> (8 * i), &state);
	}
	return c ? state : 0;
}

static __always_inline void take(struct walk *w, u32 kill, u32 observe)
{
	if (!w->kill)
		w->kill = kill;
	if (!w->observe)
		w->observe = observe;
}

/* Takes up to STEPS bytes of the chunk inside the automaton, or failures in it. After
 * least of them it returns where no phrase can begin. All is kept in *w, of which the verifier remembers nothing: with variables it
 * would follow each way through the loop on its own. */
__noinline int walk_bans(u32 slot, u32 least)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < STEPS && w->pos < w->len && !w->kill; i++) {
		u32 class = class_at(w, w->pos, w->table);
		u8 sym = class >> w->shift;
		u32 state = w->state, next;
		struct found *f;
		struct cell *c;

		if (w->pending) {
			f = bpf_map_lookup_elem(&founds, &w->pending);
			if (f && class >> 16 == BETWEEN)
				take(w, f->word_kill, f->word_observe);
			w->pending = 0;
		}
		if (state) {
			c = bpf_map_lookup_elem(&cells, &state);
			if (!c)
				return 0;
			w->state = c->fail;
			c = follow(state, c->base, sym, &next);
			if (!c)
				continue;
			w->state = next;
		}
		w->window = w->window << 8 | sym;
		w->shift = class >> 16;
		w->pos++;
		if (!state) {
			if (!maybe_begins(w->window)) {
				if (i >= least)
					return 0;
				continue;
			}
			w->state = begin(w->window);
		}
		next = w->state;
		c = bpf_map_lookup_elem(&cells, &next);
		if (!c || !c->found)
			continue;
		w->pending = c->found;
		f = bpf_map_lookup_elem(&founds, &w->pending);
		if (f)
			take(w, f->kill, f->observe);
	}
	return 0;
}

static __always_inline u32 allow_entry(u32 entry)
{
	u32 at = entry / 2;
	struct allow_rows *r = bpf_map_lookup_elem(&allow_rows, &at);

	return r ? r->next[entry % 2] : 0;
}

static __always_inline bool allow_alive(struct walk *w)
{
	return w->rows[0] | w->rows[1] | w->rows[2] | w->rows[3];
}

/* Takes up to STEPS bytes of the chunk. A processor waits for all DFAs at once. */
__noinline int walk_allow(u32 slot)
{
	struct walk *w = walk_at(slot);
	u32 pos, len, rows[MAX_ALLOWS];

	if (!w)
		return 0;
	pos = w->pos;
	len = w->len;
	for (int k = 0; k < MAX_ALLOWS; k++)
		rows[k] = w->rows[k];
	for (u64 i = 0; i < STEPS && pos < len; i++, pos++) {
		u8 byte = w->buf[pos & (2 * CHUNK - 1)];

#pragma unroll
		for (int k = 0; k < MAX_ALLOWS; k++)
			if (allow_count > k)
				rows[k] = allow_entry(rows[k] + allow_columns[byte][k]);
	}
	for (int k = 0; k < MAX_ALLOWS; k++)
		w->rows[k] = rows[k];
	w->pos = pos;
	return 0;
}

/* Walks through the chunk. */
__noinline int drain(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < MAX_WALKS && w->pos < w->len && !w->kill; i++) {
		if (w->allow) {
			if (!allow_alive(w))
				return 0;
			walk_allow(slot);
			continue;
		}
		if (!w->state && !w->pending && !w->table)
			skip(slot);
		if (w->pos < w->len)
			walk_bans(slot, i < QUICK_WALKS ? 0 : STEPS / 2);
	}
	if (w->pos < w->len && !w->kill)
		w->unreadable = true; /* which the bounds rule out */
	return 0;
}

/* How many bytes in buf, of len, are before the first NUL. */
__noinline u32 find_nul(u32 slot, u32 len)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->pos = len;
	for (u64 at = 0; at < CHUNK && at < len; at += 8) {
		u64 word = *(u64 *)(w->buf + at);

		if (word - 0x0101010101010101ULL & ~word & 0x8080808080808080ULL) {
			w->pos = at;
			break;
		}
	}
	for (u64 i = 0; i < 8 && w->pos < len; i++) {
		if (!w->buf[w->pos & (CHUNK - 1)])
			break;
		w->pos++;
	}
	return w->pos;
}

/* Bytes of the arguments' next chunk, at most CHUNK. It ends where a page may, since of
 * two pages one may be readable alone. */
static __always_inline u64 next_chunk(struct walk *w)
{
	u64 left = w->args_end - w->addr;
	u64 n = CHUNK - (w->addr & (CHUNK - 1));

	if (n > left)
		n = left;
	/* Kernels before 6.8 learn nothing from comparing two numbers, so the compiler
	 * must not. */
	barrier_var(n);
	return n & (2 * CHUNK - 1);
}

/* Walks through a chunk of argv[0] of n bytes that was read, and says whether argv[0]
 * ends in it. It is read to its end even if a ban has been found: there the subject's
 * arguments begin. */
static __always_inline bool take_argv0(u32 slot, struct walk *w, u64 n)
{
	w->len = find_nul(slot, n);
	w->pos = 0;
	w->addr += n;
	w->rest_pos = w->len;
	if (!w->kill)
		drain(slot);
	if (w->rest_pos >= n)
		return false;
	w->rest = w->addr - n + w->rest_pos;
	w->rest_read = w->addr;
	w->path_pos = (n + 7) & ~7;
	return true;
}

/* The same for the arguments behind it; a NUL in them is a space. */
static __always_inline void take_args(u32 slot, struct walk *w, u64 n)
{
	w->pos = 0;
	w->len = n;
	w->addr += n;
	drain(slot);
}

/* Walks through argv[0] from addr on, by MAX_CHUNKS at most. */
__noinline int feed_argv0(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < MAX_CHUNKS && w->addr < w->args_end; i++) {
		u64 n = next_chunk(w);

		if (bpf_probe_read_user(w->buf, n, (void *)w->addr)) {
			w->unreadable = true;
			return 0;
		}
		if (take_argv0(slot, w, n))
			return 0;
	}
	return 0;
}

/* Walks through the path. */
__noinline int feed_path(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->addr = w->path;
	for (u64 i = 0; i < MAX_CHUNKS && !w->kill; i++) {
		u64 at = w->path_pos <= CHUNK ? w->path_pos : CHUNK;
		u8 *to = w->buf + at;
		long n = w->path_in_user
			? bpf_probe_read_user_str(to, CHUNK, (void *)w->addr)
			: bpf_probe_read_kernel_str(to, CHUNK, (void *)w->addr);
		bool last = n < CHUNK;

		if (n < 0)
			break;
		/* The NUL, which Linux 5.10 does not count for an empty string. */
		if (n > 0)
			n--;
		w->pos = at;
		w->len = at + n;
		drain(slot);
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
		u64 n = next_chunk(w);

		if (bpf_probe_read_user(w->buf, n, (void *)w->addr)) {
			w->unreadable = true;
			return 0;
		}
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
	u32 class = classes[0xff + table];
	u64 next = w->window << 8 | (u8)(class >> w->shift);

	if (!w->state && !w->pending && !maybe_begins(next)) {
		w->window = next;
		w->shift = class >> 16;
		return;
	}
	w->buf[EDGE_AT] = 0xff;
	w->pos = EDGE_AT;
	w->len = EDGE_AT + 1;
	w->table = table;
	drain(slot);
	w->table = 0;
}

/* Searches the bans in argv[0] and in the subject: walk->kill, walk->observe.
 * Its twin is search in internal/match. */
static __always_inline void search_bans(u32 slot, struct walk *w, bool later)
{
	u32 state, shift, pending;
	u64 window;

	w->state = 0;
	w->window = ~0ULL;
	w->shift = BETWEEN;
	w->pending = 0;
	w->rest = w->args_end;
	w->rest_read = 0;
	w->path_pos = 0;
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
	shift = w->shift;
	pending = w->pending;
	feed_one(slot, w, ALL_EDGES);
	w->state = state;
	w->window = window;
	w->shift = shift;
	w->pending = pending;

	if (w->rest < w->args_end) {
		w->pos = w->rest_pos;
		w->len = w->rest_pos + (w->rest_read - w->rest);
		drain(slot);
		w->addr = w->rest_read;
		feed_rest(slot, w, later);
	}
	feed_one(slot, w, 0);
}

/* Searches the bans in the name of the file. Its twin is JudgeNamed in internal/match. */
__noinline int search_name(u32 slot)
{
	struct walk *w = walk_at(slot);
	u64 path;

	if (!w)
		return 0;
	path = w->path;
	w->path = w->name;
	w->path_pos = 0;
	w->state = 0;
	w->window = ~0ULL;
	w->shift = BETWEEN;
	w->pending = 0;
	feed_one(slot, w, ALL_EDGES);
	feed_path(slot);
	feed_one(slot, w, ALL_EDGES);
	feed_one(slot, w, 0);
	w->path = path;
	return 0;
}

#define FILE_NAME 256 /* NAME_MAX and a NUL */

/* Whether the name is not what the path ends with: it is that of a link, or of a
 * descriptor. */
__noinline int named_otherwise(u32 slot)
{
	struct walk *w = walk_at(slot);
	long path, name;
	u64 at;

	if (!w)
		return 0;
	path = bpf_probe_read_kernel_str(w->buf, CHUNK, (void *)w->path);
	name = bpf_probe_read_kernel_str(w->buf + CHUNK, FILE_NAME, (void *)w->name);
	if (path <= 0 || name <= 0)
		return 0;
	if (path < name)
		return 1;
	at = path - name;
	if (at && w->buf[(at - 1) & (CHUNK - 1)] != '/')
		return 1;
	for (u64 i = 0; i < FILE_NAME && i < name; i++)
		if (w->buf[(at + i) & (CHUNK - 1)] != w->buf[CHUNK + i])
			return 1;
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

/* Judges the command line that the caller has put into the slot's walk. *ban is 1 +
 * the ban that decides, *pattern 1 + the allow pattern; 0 where there is none. later is
 * for callers that may sleep. */
static __always_inline enum outcome judge(u32 slot, struct walk *w, bool later, u32 *ban, u32 *pattern)
{
	u32 kill;

	w->kill = 0;
	w->observe = 0;
	w->allow = false;
	w->unreadable = false;
	if (later)
		search_bans(slot, w, true);
	else
		search(slot);
	if (w->name && !w->kill)
		search_name(slot);
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
