/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk through a chunk of a command line: the steps of internal/match in the kernel,
 * through the same tables.
 *
 *	drain → skip, walk_bans → begin, take_entries; walk_allow; walk_parts
 */
#pragma once

#include "kernel.h"
#include "tables.bpf.h"

#define LAST_PLACE (1 << 6)
#define ALL_PLACES (2 * LAST_PLACE - 1)
#define HASH_FACTOR 0x9e3779b97f4a7c15ULL

#define CHUNK 4096    /* bytes read at once */
#define SLACK 512     /* bytes behind the places that a mask allows, for SKIPS and a few words */
#define SKIPS 64      /* bytes of a skip */
#define STEPS 64      /* of a walk through an automaton */
#define PART_STEPS 16 /* of one that looks for parts */
#define NEAR 512      /* bytes that one loop looks at: the verifier follows each round of it */

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

/* What a text is searched for. */
enum mode {
	BANS, /* 0: see is_idle */
	ALLOWS,
	PARTS, /* of combinations */
};

/* One walk through one command line. */
struct walk {
	/* the command line */
	u64 path;
	u64 name; /* of the file, if it counts; 0 once it is what the path ends with */
	u64 args;
	u64 args_end;
	u64 area_end; /* args_end with the last NUL */
	u64 env;
	u64 env_end;
	u64 rest;      /* behind argv[0], from the NUL between them */
	u64 rest_read; /* up to where that was read with the end of argv[0] */
	u32 rest_pos;  /* and where it is in buf */
	u32 path_len;  /* of the path in buf, 0 if it is too long to stay there */
	u32 name_len;  /* of that name */
	u32 held;      /* bytes of the arguments, from their beginning, that are in buf */
	bool path_in_user;
	u64 began_ns; /* see begin_clock, 0 if it was not called */
	u64 execs;    /* how many had a number: see exec_number */
	u64 addr;     /* of the next chunk of the text */
	/* the chunk in buf: what is still to be walked through */
	u32 pos;
	u32 len;
	u32 table; /* of classes: 0 or ALL_EDGES */
	/* in the bans' automaton */
	u32 state;
	u64 window; /* the last 8 symbols */
	u32 misses; /* see misses_after */
	u32 shift;  /* for the class of the next byte: BEGINNING or 0 */
	u32 pending;
	u32 kill;
	u32 observe;
	u32 kill_flags; /* of the entries of these two */
	u32 observe_flags;
	u32 open_kill; /* of names with an open end, if no "/" follows */
	u32 open_observe;
	u32 open_kill_flags;
	u32 open_observe_flags;
	u32 ignored;	/* entries with one of these flags are */
	bool in_env;	/* the text is the environment */
	bool triggered; /* expressions have to be evaluated */
	u32 words;	/* the last words: see note_near */
	u32 runs;	/* not 0 if there may be a run */
	/* in the DFAs of the allow patterns or the expressions */
	enum mode mode;
	u32 rows[MAX_ALLOWS]; /* 0 for one that is dead */
	struct part_set found;
	bool unreadable;
	/* the text of a shell: see shell.bpf.h */
	u64 text;
	u64 text_end;
	bool without_text; /* which is not searched */
	struct shell_options {
		bool within;   /* an argument has begun */
		bool first;    /* its first byte was the last one */
		bool dash;     /* it is a cluster of options after "-" */
		bool plus;     /* after "+" */
		bool value;    /* it is the value of an option */
		bool valued;   /* an option in it has a value */
		bool commands; /* a -c was seen */
		bool several;  /* the text has several words */
	} options;
	/* for the fingerprint of the arguments */
	u64 hash;
	u64 key;
	bool folded; /* hash is that of all arguments */
	u8 buf[2 * CHUNK + SLACK] __attribute__((aligned(8)));
};

/* Where in buf. What most execs need lies close together. */
#define PATH_AT 0
#define PATH_HELD 256 /* bytes of a path that stays there, its NUL included */
#define PATH_FIRST 64 /* bytes of a path that are read first */
#define ARGS_AT (PATH_AT + PATH_HELD)
#define OTHER_AT (ARGS_AT + CHUNK) /* the name of the file, or a chunk of a longer path */
#define OTHER_CHUNK 2048
#define EDGE_AT (2 * CHUNK - 1)

/* By slot: one for each CPU, which is not shared while preemption is disabled (hold_cpu).
 * On Linux 5.10 a global function cannot take a pointer to a walk, so these functions take
 * the slot. */
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

/* Bit i says that no phrase has each pair of the last i + 1 symbols at its place. The window
 * ends with the new one. */
static __always_inline u32 misses_after(u32 misses, u64 window)
{
	misses = (misses << 1 | pairs[window >> 3 & 0x1fff]) & ALL_PLACES;
	barrier_var(misses); /* or the verifier would tell states apart by older bits */
	return misses;
}

static __always_inline u32 shift_after(u32 class)
{
	return class >> 11 & BEGINNING; /* its NO_WORD */
}

/* Filter.mayContain in internal/match. 16 bits of a hash number at most FILTER_WORDS. */
static __always_inline bool maybe_begins(u64 window, u32 misses)
{
	u64 h, bits;

	if (misses & LAST_PLACE)
		return false;
	h = (window << filter_drop) * HASH_FACTOR;
	bits = 1ULL << (h >> 42 & 63) | 1ULL << (h >> 36 & 63);
	return (filter[h >> 48 & filter_last] & bits) == bits;
}

/* In 64 bits and masked, or kernels before 6.2 lose the bounds. */
static __always_inline u32 class_at(struct walk *w, u64 pos, u64 table)
{
	return classes[(w->buf[pos & (2 * CHUNK - 1)] + table) & (2 * ALL_EDGES - 1)];
}

/* The last symbols of a text. */
struct trail {
	u64 window;
	u32 misses;
	u32 shift;
};

static __always_inline void add_symbol(struct trail *t, u32 class)
{
	t->window = t->window << 8 | (u8)(class >> t->shift);
	t->misses = misses_after(t->misses, t->window);
	t->shift = shift_after(class);
}

/* Takes the next four bytes if no phrase can have their symbols at its last place. */
static __always_inline bool skip_four(const u8 *text, struct trail *t)
{
	struct trail next = *t;
	u32 misses = LAST_PLACE;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		add_symbol(&next, classes[text[i]]);
		misses &= next.misses;
	}
	if (misses)
		*t = next;
	return misses;
}

/* Takes up to SKIPS bytes of the chunk outside the automaton, none of them an
 * edge, and stops before one with which a phrase may begin. Says whether there are more.
 * Nearly every byte goes this way, and most of them by four. */
__noinline int skip(u32 slot)
{
	struct walk *w = walk_at(slot);
	struct trail t;
	u32 left;
	u64 i, k;
	u8 *text;

	if (!w || w->pos >= w->len)
		return 0;
	text = w->buf + (w->pos & (2 * CHUNK - 1));
	left = w->len - w->pos;
	t.window = w->window;
	t.misses = w->misses;
	t.shift = w->shift;
	for (i = 0; i < SKIPS && i < left; i += 4) {
		if (left - i >= 4 && skip_four(text + i, &t))
			continue;
#pragma clang loop unroll(disable) /* the verifier of 6.18 would take too long */
		for (k = 0; k < 4 && i + k < left; k++) {
			struct trail next = t;

			add_symbol(&next, classes[text[i + k]]);
			if (maybe_begins(next.window, next.misses)) {
				i += k;
				goto out;
			}
			t = next;
		}
	}
	if (i > left)
		i = left;
out:
	w->pos += i;
	w->window = t.window;
	w->misses = t.misses;
	w->shift = t.shift;
	return w->pos < w->len;
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

/* In the number of a ban: it matched in the environment. */
#define IN_ENVIRONMENT (1U << 31)

/* Keeps the first ban of its sort that is found, 0 for none, and its flags. */
static __always_inline void keep_ban(u32 *kept, u32 *its_flags, u32 ban, u32 flags)
{
	if (!ban || *kept)
		return;
	*kept = ban;
	*its_flags = flags;
}

/* Records what an entry means in this text. */
static __always_inline void take(struct walk *w, u32 ban, u32 flags)
{
	bool kills = flags & KILLS, observes = !kills;

	if (w->in_env) {
		kills = flags & KILLS_IN_ENV;
		observes = flags & OBSERVES_IN_ENV;
		ban |= IN_ENVIRONMENT;
	}
	if (flags & OPEN_END) {
		keep_ban(&w->open_kill, &w->open_kill_flags, kills ? ban : 0, flags);
		keep_ban(&w->open_observe, &w->open_observe_flags, observes ? ban : 0, flags);
	} else {
		keep_ban(&w->kill, &w->kill_flags, kills ? ban : 0, flags);
		keep_ban(&w->observe, &w->observe_flags, observes ? ban : 0, flags);
	}
}

static __always_inline bool has_open(struct walk *w)
{
	return w->open_kill | w->open_observe;
}

/* The top bit of the first NUL in a word, with others above it that say nothing; 0 if there is
 * none: as in asm/word-at-a-time.h of Linux. */
static __always_inline u64 first_nul(u64 word)
{
	return (word - 0x0101010101010101ULL) & ~word & 0x8080808080808080ULL;
}

#define BYTES(a, b, c) ((a) | (b) << 8 | (c) << 16)

/* Not 0 if a word has one of BYTES(a, b, c). */
static __always_inline u64 has_byte(u64 word, u32 bytes)
{
	const u64 each = 0x0101010101010101ULL;

	return first_nul(word ^ (u8)bytes * each) | first_nul(word ^ (u8)(bytes >> 8) * each) |
	       first_nul(word ^ (u8)(bytes >> 16) * each);
}

/* Whether one of n bytes of buf, at most NEAR, is one of BYTES(a, b, c). */
__noinline int has_near(u32 slot, u64 from, u64 n, u32 bytes)
{
	struct walk *w = walk_at(slot);
	u64 hits;

	if (!w)
		return 0;
	hits = has_byte(*(u64 *)(w->buf + ((from + (n & ~7ULL)) & (2 * CHUNK - 1))) | ~0ULL << 8 * (n & 7), bytes);
	for (u64 i = 0; i < NEAR && i + 8 <= n; i += 8)
		hits |= has_byte(*(u64 *)(w->buf + ((from + i) & (2 * CHUNK - 1))), bytes);
	return !!hits;
}

/* The same of a chunk. */
__noinline int has_any(u32 slot, u64 from, u64 n, u32 bytes)
{
	int has = 0;

	for (u64 i = 0; i < CHUNK && i < n && !has; i += NEAR)
		has = has_near(slot, from + i, n - i < NEAR ? n - i : NEAR, bytes);
	return has;
}

/* Drops the names with an open end if a "/" is in the rest of the chunk. */
static __always_inline void drop_open(u32 slot, struct walk *w)
{
	if (has_any(slot, w->pos, w->len - w->pos, BYTES('/', '/', '/'))) {
		w->open_kill = 0;
		w->open_observe = 0;
	}
}

/* At the end of a program's name. */
static __always_inline void close_open(struct walk *w)
{
	keep_ban(&w->kill, &w->kill_flags, w->open_kill, w->open_kill_flags);
	keep_ban(&w->observe, &w->observe_flags, w->open_observe, w->open_observe_flags);
	w->open_kill = 0;
	w->open_observe = 0;
}

/* Takes an entry that is, or is not, of a word that ends here. Returns the next one. */
__noinline u32 take_entry(u32 slot, u32 at, u32 ends_word)
{
	struct entry *e = bpf_map_lookup_elem(&entries, &at);
	struct walk *w = walk_at(slot);

	if (!w || !e)
		return 0;
	if ((e->flags & ENDS_WORD) != ends_word || e->flags & w->ignored)
		return e->next;
	if (e->flags & TRIGGERS)
		w->triggered = true;
	else
		take(w, e->ban, e->flags);
	return e->next;
}

/* Takes the entries of a list. */
__noinline int take_entries(u32 slot, u32 at, u32 ends_word)
{
	for (u64 i = 0; i < MAX_ENTRIES && at; i++)
		at = take_entry(slot, at, ends_word);
	return 0;
}

/* Takes up to STEPS bytes of the chunk inside the automaton, or failures in it. After
 * least of them it returns where no phrase can begin. Says whether there is more to walk.
 * All is kept in *w, of which the verifier remembers nothing: with variables it would follow
 * each way through the loop on its own. */
__noinline int walk_bans(u32 slot, u32 least)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < STEPS && w->pos < w->len && !w->kill; i++) {
		u32 class = class_at(w, w->pos, w->table), state = w->state, next;
		u8 sym = class >> w->shift;
		struct cell *c;

		if (w->pending) {
			if (class & NO_WORD)
				take_entries(slot, w->pending, ENDS_WORD);
			w->pending = 0;
			if (has_open(w))
				drop_open(slot, w);
		}
		if (state) {
			c = bpf_map_lookup_elem(&cells, &state);
			if (!c)
				break;
			w->state = c->fail;
			c = follow(state, c->base, sym, &next);
			if (!c)
				continue;
			w->state = next;
		}
		w->window = w->window << 8 | sym;
		w->misses = misses_after(w->misses, w->window);
		w->shift = shift_after(class);
		w->pos++;
		if (!state) {
			if (!maybe_begins(w->window, w->misses)) {
				if (i >= least)
					break;
				continue;
			}
			w->state = begin(w->window);
		}
		next = w->state;
		c = bpf_map_lookup_elem(&cells, &next);
		if (!c || !c->entry)
			continue;
		w->pending = c->entry;
		take_entries(slot, w->pending, 0);
		if (has_open(w))
			drop_open(slot, w);
	}
	return w->pos < w->len && !w->kill;
}

/* An entry of allow_rows or search_rows. */
static __always_inline u32 row_entry(void *rows, u32 entry)
{
	u32 at = entry / 2;
	struct allow_rows *r = bpf_map_lookup_elem(rows, &at);

	return r ? r->next[entry % 2] : 0;
}

static __always_inline u32 allow_entry(u32 entry)
{
	return row_entry(&allow_rows, entry);
}

static __always_inline bool allow_alive(struct walk *w)
{
	return w->rows[0] | w->rows[1] | w->rows[2] | w->rows[3];
}

/* Takes up to STEPS bytes of the chunk, and says whether a pattern may still match. A processor waits for all
 * DFAs at once. */
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
	return allow_alive(w);
}

static __always_inline u32 search_entry(u32 entry)
{
	return row_entry(&search_rows, entry);
}

/* Adds the parts that are found in a row. */
__noinline int add_parts(u32 slot, u32 row, u32 k)
{
	struct walk *w = walk_at(slot);
	struct part_set *s;
	u32 number;

	if (!w)
		return 0;
	number = search_entry((row & ~FOUND) + search_end[k & (MAX_ALLOWS - 1)] + 1);
	s = bpf_map_lookup_elem(&part_sets, &number);
	for (int i = 0; s && i < SET_WORDS; i++)
		w->found.parts[i] |= s->parts[i];
	return 0;
}

/* The row that follows on a class. Adds the parts that are found in it. */
static __always_inline u32 follow_row(u32 slot, u32 row, u32 class, int k)
{
	u32 next = search_entry((row & ~FOUND) + class);

	if (next & FOUND)
		add_parts(slot, next, k);
	return next;
}

/* Takes up to PART_STEPS bytes of the chunk. */
__noinline int walk_parts(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	for (u64 i = 0; i < PART_STEPS && w->pos < w->len; i++, w->pos++) {
		u8 byte = w->buf[(u64)w->pos & (2 * CHUNK - 1)];

		for (int k = 0; k < MAX_ALLOWS; k++) {
			if (search_count <= k)
				break;
			w->rows[k] = follow_row(slot, w->rows[k], search_columns[byte][k], k);
		}
	}
	return 0;
}

/* Whether bans are searched, no phrase has begun, and the next byte is an ordinary one. */
static __always_inline bool is_idle(struct walk *w)
{
	return !(w->mode | w->state | w->pending | w->table);
}

/* Walks through the chunk. */
__noinline int drain(u32 slot)
{
	struct walk *w = walk_at(slot);

	if (!w || w->kill)
		return 0;
	if (w->mode == ALLOWS) {
		for (u64 i = 0; i < CHUNK / STEPS && w->pos < w->len; i++)
			if (!walk_allow(slot))
				return 0;
	} else if (w->mode == PARTS) {
		for (u64 i = 0; i < CHUNK / PART_STEPS && w->pos < w->len; i++)
			walk_parts(slot);
	} else {
		for (u64 i = 0; i < MAX_WALKS; i++) {
			if (is_idle(w) && !skip(slot))
				return 0;
			if (!walk_bans(slot, i < QUICK_WALKS ? 0 : STEPS / 2))
				return 0;
		}
	}
	if (w->pos < w->len)
		w->unreadable = true; /* which the bounds rule out */
	return 0;
}

/* The same for most chunks, in which no phrase begins. */
static __always_inline void pass(u32 slot, struct walk *w)
{
	if (has_open(w) && !w->table)
		drop_open(slot, w);
	if (!is_idle(w) || skip(slot))
		drain(slot);
}
