/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fingerprint of the arguments of an exec, which proves later that a process has not
 * written over them. It corresponds to fingerprint in record.go.
 */
#pragma once

#include "kernel.h"
#include "feed.bpf.h"

/* Chosen at random for each agent, so that other arguments with the same fingerprint
 * cannot be constructed. */
const volatile u64 fingerprint_seed;

#define FINGERPRINT_STEP 0x9e3779b97f4a7c15ULL
#define FINGERPRINT_CHUNKS 64 /* of CHUNK bytes: a title is written from the start */

/* Multiplies the halves of a word, each with a secret key, so that the effect of a changed
 * half on the product cannot be predicted. Products wait for no other, unlike a chain. */
static __always_inline u64 mix(u64 word, u64 key)
{
	word += key;
	return (u64)(u32)word * (word >> 32);
}

#define NEAR_WORDS (NEAR / 8)

/* Adds NEAR_WORDS of the arguments in buf, or as many as there are from the word at on, two by two, and notes
 * the runs in them, as note_near does. A function of its own for the verifier, which then looks at it once. */
__noinline int fold_near(u32 slot, u32 at, u32 words)
{
	struct walk *w = walk_at(slot);
	u64 hash, key, step = fingerprint_seed * FINGERPRINT_STEP | 1;
	bool runs = search_runs && at + words > 3;
	u64 last, before;
	u64 *text;

	if (!w)
		return 0;
	text = (u64 *)(w->buf + ARGS_AT) + (at & (CHUNK / 8 - 1));
	last = ~w->words & 1;
	before = ~w->words & 2;
	hash = w->hash;
	key = w->key;
	words = (words + 1) & ~1;
#pragma clang loop unroll(disable) /* code that no cache has costs more than a jump */
	for (u32 i = 0; i < NEAR_WORDS && i < words; i++) {
		u64 word = text[i], other;

		hash += mix(word, key);
		key += step;
		if (!runs)
			continue;
		other = other_bytes(word);
		if (!(other | last | before))
			w->runs = 1;
		before = last;
		last = other;
	}
	w->hash = hash;
	w->key = key;
	w->words = !last | !before << 1;
	return 0;
}

/* Adds the first words of the arguments in buf. */
__noinline int fold(u32 slot, u32 words)
{
	struct walk *w = walk_at(slot);

	if (!w)
		return 0;
	w->words = 0;
	for (u32 at = 0; at < CHUNK / 8 && at < words; at += NEAR_WORDS)
		fold_near(slot, at, words - at);
	return 0;
}

/* Makes the two words from the byte at on zero from there, so that the last two words of
 * the arguments are whole. */
static __always_inline void end_words(struct walk *w, u64 at)
{
	u64 *word;

	barrier_var(at); /* or the compiler drops the mask, which kernels before 6.18 want */
	word = (u64 *)(w->buf + ARGS_AT) + ((at >> 3) & (CHUNK / 4 - 1));
	word[0] &= (1ULL << (8 * (at & 7))) - 1;
	word[1] = 0;
}

/* Reads a chunk of the arguments, and adds it; says whether it could be read. */
static __always_inline bool fold_chunk(u32 slot, struct walk *w, u64 from, u64 to, bool later)
{
	u64 n = to - from;

	if (n > CHUNK)
		n = CHUNK;
	if (copy_from_user(w->buf + ARGS_AT, n & (2 * CHUNK - 1), from, later))
		return false;
	end_words(w, n);
	fold(slot, (n + 7) >> 3);
	return true;
}

/* The same without sleeping. */
__noinline int fold_chunk_now(u32 slot, u64 from, u64 to)
{
	struct walk *w = walk_at(slot);

	return w && fold_chunk(slot, w, from, to, false);
}

/* Reads the arguments, and adds them; says whether they could be read. */
__noinline int fold_read(u32 slot, u64 from, u64 to)
{
	for (u32 i = 0; i < FINGERPRINT_CHUNKS && from < to; i++) {
		if (!fold_chunk_now(slot, from, to))
			return 0;
		from += CHUNK;
	}
	return 1;
}

static __always_inline void begin_fingerprint(struct walk *w)
{
	w->hash = fingerprint_seed ^ (w->area_end - w->args);
	w->key = fingerprint_seed;
}

/* Makes the fingerprint of arguments that are all in buf, but for the last NUL: less than CHUNK. */
static __always_inline void fold_held(u32 slot, struct walk *w, u64 held)
{
	begin_fingerprint(w);
	end_words(w, held);
	w->words = 0;
	if (held < NEAR) /* most: a call less */
		fold_near(slot, 0, (held + 8) >> 3);
	else
		fold(slot, (held + 8) >> 3);
}

/* The fingerprint of the arguments, 0 if they could not be read. If the walk has left all
 * of them in buf, they are not read again. */
static __always_inline u64 fingerprint_of(u32 slot, struct walk *w)
{
	u64 held = w->held;

	if (w->folded)
		return w->hash;
	if (held && held < CHUNK && w->args + held + 1 == w->area_end) {
		fold_held(slot, w, held);
		return w->hash;
	}
	begin_fingerprint(w);
	return fold_read(slot, w->args, w->area_end) ? w->hash : 0;
}
