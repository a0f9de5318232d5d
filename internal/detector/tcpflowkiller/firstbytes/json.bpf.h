/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stratum: JSON objects one after another. Only the keys of an object, the text of its
 * "method" and the keys of its "params" are looked at; so words in other places, such as in
 * a log of them, mean nothing. What an object says is known at its end: with the keys of
 * another, such as of a record of a log, it says nothing.
 */
#pragma once

#include "stream.bpf.h"
#include "names.bpf.h"

/* Bits: what an object has said. Texts and their words are in words.go. */
enum word {
	METHOD_LOGIN = 1 << 0,
	METHOD_MINING = 1 << 1,
	METHOD_ETH = 1 << 2,
	METHOD_SUBMIT = 1 << 3,
	METHOD_TEMPLATE = 1 << 4,
	METHOD_WORK = 1 << 5,
	PARAM_LOGIN = 1 << 6,
	PARAM_MINER = 1 << 7, /* of who logs in */
	PARAM_JOB = 1 << 8,
	PARAM_NONCE = 1 << 9,
	PARAM_WALLET = 1 << 10,
};

enum context {
	NO_CONTEXT,
	IS_KEY,
	IS_METHOD,
	IS_PARAM, /* a key of params */
};

/* The words of IS_KEY: bits, which are also noted in words, shifted. */
enum key {
	KEY_USUAL = 0, /* that says nothing about a call */
	KEY_METHOD = 1 << 0,
	KEY_PARAMS = 1 << 1,
	KEY_BODY = 1 << 2, /* what some have for params */
	KEY_ID = 1 << 3,
	OTHER_KEY = 1 << 4,
	KEY_OF_NO_CALL = 1 << 5, /* as well as a second other one */
};

#define KEYS_SHIFT 16

/* By the hash of context and text. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u64);
	__type(value, u32);
} words SEC(".maps");

enum lex {
	BETWEEN, /* texts */
	TEXT,
	ESCAPE,
	DIGITS, /* of an escape */
};

#define LONG_S 0x17f
#define LONG_S_FIRST 0xc5
#define LONG_S_LAST 0xbf

static __always_inline void json_begin(struct stream *s)
{
	s->kind = JSON;
	s->lex = BETWEEN;
	s->depth = 0;
	s->key = OTHER_KEY;
	s->value = 0;
	s->objects = 0;
	s->words = 0;
}

static __always_inline bool said_all(u32 words, u32 of)
{
	return (words & of) == of;
}

/* Whether an object is what a client of a pool sends. One key of its own may be a client's that is not
 * known here. */
static __always_inline bool is_call(u32 words)
{
	u32 keys = words >> KEYS_SHIFT;

	return keys & KEY_ID && keys & (KEY_PARAMS | KEY_BODY) && !(keys & KEY_OF_NO_CALL);
}

/* Global, as those below: each is verified once, and not in each round of judge_json. */
__noinline int object_end(u32 area)
{
	struct work *w = this_work(area);
	u32 words, found = 0;

	if (!w)
		return 0;
	words = w->s.words;
	if (!is_call(words))
		return 0;
	if (said_all(words, METHOD_LOGIN | PARAM_LOGIN | PARAM_MINER))
		found |= SAID_LOGIN;
	if (words & METHOD_MINING)
		found |= SAID_MINING;
	if (words & METHOD_ETH)
		found |= SAID_ETH;
	if (said_all(words, METHOD_SUBMIT | PARAM_JOB | PARAM_NONCE))
		found |= SAID_SUBMIT;
	if (said_all(words, METHOD_TEMPLATE | PARAM_WALLET))
		found |= SAID_TEMPLATE;
	if (words & METHOD_WORK)
		found |= SAID_WORK;
	if (found)
		find(w, found);
	return 0;
}

static __always_inline void key_end(struct stream *s, u32 key)
{
	u32 seen = s->words >> KEYS_SHIFT;

	s->key = key;
	s->words |= (key | (seen & key & OTHER_KEY) << 1) << KEYS_SHIFT;
}

static __always_inline void text_end(struct stream *s)
{
	u32 *word;

	s->lex = BETWEEN;
	if (s->context == NO_CONTEXT)
		return;
	word = bpf_map_lookup_elem(&words, &s->hash);
	if (s->context == IS_KEY)
		key_end(s, word ? *word : OTHER_KEY);
	else if (word)
		s->words |= *word;
}

static __always_inline void text_begin(struct stream *s)
{
	s->lex = TEXT;
	s->context = NO_CONTEXT;
	if (s->depth == 1) {
		if (!s->value)
			s->context = IS_KEY;
		else if (s->key == KEY_METHOD)
			s->context = IS_METHOD;
	} else if (s->depth == 2 && s->objects & 2 && !s->value && s->key == KEY_PARAMS) {
		s->context = IS_PARAM;
	}
	s->hash = s->context;
}

static __always_inline bool of_literal(u8 c)
{
	u8 l = c | 32;

	return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'z') || c == '-' || c == '+' || c == '.';
}

static __always_inline void between(struct work *w, u8 c)
{
	struct stream *s = &w->s;

	switch (c) {
	case '{':
	case '[':
		if (!s->depth && c == '[')
			return; /* a batch */
		s->depth++;
		s->value = c == '[';
		if (s->depth == 1) {
			s->words = 0;
			s->key = OTHER_KEY;
		} else if (s->depth == 2) {
			s->objects = c == '{' ? 2 : 0;
		}
		return;
	case '}':
	case ']':
		if (s->depth == 1)
			object_end(w->area);
		if (s->depth)
			s->depth--;
		s->value = 1;
		return;
	case ':':
		if (!s->depth)
			break;
		s->value = 1;
		return;
	case ',':
		if (s->depth)
			s->value = s->depth == 2 && !s->objects;
		return;
	case '"':
		text_begin(s);
		return;
	}
	if (is_space(c) || of_literal(c))
		return;
	/* Behind an object, pools skip what is none. */
	if (s->depth || !s->value || s->in_http)
		s->kind = DONE;
}

/* A byte of a text. The keys of an object are the same in any case for some pools, and the long s of
 * Unicode (U+017F, 0xc5 0xbf in UTF-8) is a small one of S. */
static __always_inline u64 text_byte(u64 hash, u8 c)
{
	if (c == LONG_S_FIRST)
		return hash;
	return hash_byte(hash, c == LONG_S_LAST ? 's' : lower(c));
}

static __always_inline bool ends_text(u8 c)
{
	return c == '"' || c == '\\';
}

/* Bytes of a text, and what ends it. What no hash is wanted of is most of all JSON. */
static __always_inline void json_text(struct work *w)
{
	struct stream *s = &w->s;
	u32 pos = w->pos, n = w->len - pos;
	u8 c = 0;

	if (s->context == NO_CONTEXT) {
		for (u32 i = 0; i < STEPS && i < n && !ends_text(c); i++)
			c = byte_at(w, pos++);
	} else {
		u64 hash = s->hash;

		for (u32 i = 0; i < HASH_STEPS && i < n; i++) {
			c = byte_at(w, pos++);
			if (ends_text(c))
				break;
			hash = text_byte(hash, c);
		}
		s->hash = hash;
	}
	w->pos = pos;
	if (c == '"')
		text_end(s);
	else if (c == '\\')
		s->lex = ESCAPE;
}

/* Texts, and what is between them: a call takes as long as some bytes. */
__noinline int json_texts(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < 2; i++) {
		if (w->pos < w->len && w->s.lex == TEXT)
			json_text(w);
		for (u32 j = 0; j < LEAST_STEPS && goes_on(w, JSON) && w->s.lex == BETWEEN; j++)
			between(w, next_byte(w));
	}
	return 0;
}

static __always_inline void escape_digit(struct stream *s, u8 c)
{
	u8 l = c | 32;

	if (c >= '0' && c <= '9') {
		s->number = s->number << 4 | (c - '0');
	} else if (l >= 'a' && l <= 'f') {
		s->number = s->number << 4 | (l - 'a' + 10);
	} else {
		s->kind = DONE;
		return;
	}
	if (++s->digits < 4)
		return;
	s->lex = TEXT;
	if (s->number == LONG_S)
		s->number = 's';
	s->hash = hash_byte(s->hash, s->number < 128 ? lower(s->number) : s->number);
}

/* Bytes of an escape. */
__noinline int json_escape(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < LEAST_STEPS && goes_on(w, JSON) && w->s.lex >= ESCAPE; i++) {
		struct stream *s = &w->s;
		u8 c = next_byte(w);

		if (s->lex == DIGITS) {
			escape_digit(s, c);
		} else if (c == 'u') {
			s->lex = DIGITS;
			s->digits = 0;
			s->number = 0;
		} else {
			s->lex = TEXT;
			s->hash = hash_byte(s->hash, lower(c));
		}
	}
	return 0;
}

__noinline int judge_json(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on(w, JSON); i++) {
		if (w->s.lex < ESCAPE)
			json_texts(area);
		else
			json_escape(area);
	}
	return 0;
}
