/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A ClientHello (RFC 8446, 4.1.2): the name of the server, and whether there is ALPN. */
#pragma once

#include "stream.bpf.h"
#include "names.bpf.h"

enum hello_part {
	HELLO_HEAD,
	HELLO_SESSION,
	HELLO_CIPHERS,
	HELLO_COMPRESSION,
	HELLO_EXTENSIONS,
	HELLO_EXTENSION,
	HELLO_SERVER,
	HELLO_NAME,
};

#define HANDSHAKE 22  /* type of a record */
#define RECORD_HEAD 5 /* bytes */
#define CLIENT_HELLO 1
#define VERSION_AND_RANDOM 34
#define HELLO_NUMBER 5 /* bytes of the longest one; of that, the last 4 count */
#define EXTENSIONS 16  /* that are passed at a time */
#define EXTENSION_SERVER 0
#define EXTENSION_ALPN 16

/* The next part begins with a number of that many bytes. */
static __always_inline void hello_part(struct stream *s, u8 part, u16 bytes)
{
	s->sub = part;
	s->need = bytes;
	s->number = 0;
}

static __always_inline void hello_begin(struct stream *s)
{
	s->kind = HELLO;
	s->record = 0;
	s->at = 0;
	s->skip = 0;
	s->body = 0xffffffff;
	s->alpn = 0;
	s->server = 0;
	hello_part(s, HELLO_HEAD, 4);
}

static __always_inline void hello_number(struct stream *s)
{
	u32 n = s->number;

	switch (s->sub) {
	case HELLO_HEAD:
		if (n >> 24 != CLIENT_HELLO) {
			s->kind = DONE;
			return;
		}
		s->body = n & 0xffffff;
		s->skip = VERSION_AND_RANDOM;
		hello_part(s, HELLO_SESSION, 1);
		return;
	case HELLO_SESSION:
		s->skip = n;
		hello_part(s, HELLO_CIPHERS, 2);
		return;
	case HELLO_CIPHERS:
		s->skip = n;
		hello_part(s, HELLO_COMPRESSION, 1);
		return;
	case HELLO_COMPRESSION:
		s->skip = n;
		hello_part(s, HELLO_EXTENSIONS, 2);
		return;
	case HELLO_EXTENSIONS:
		hello_part(s, HELLO_EXTENSION, 4);
		return;
	case HELLO_EXTENSION:
		s->rest = n;
		if (n >> 16 == EXTENSION_SERVER && s->rest > 5) {
			hello_part(s, HELLO_SERVER, 5);
			return;
		}
		if (n >> 16 == EXTENSION_ALPN)
			s->alpn = 1;
		s->skip = n;
		hello_part(s, HELLO_EXTENSION, 4);
		return;
	case HELLO_SERVER: /* the length of a list, a type, and the length of a name */
		s->name_left = n;
		s->rest -= 5;
		if (!s->name_left || s->name_left > s->rest) {
			s->skip = s->rest;
			hello_part(s, HELLO_EXTENSION, 4);
			return;
		}
		s->rest -= s->name_left;
		s->sub = HELLO_NAME;
		name_begin(&s->name);
		return;
	}
	s->kind = DONE;
}

/* Bytes of the server's name, of which there are at least n. Global, as others below: each is verified once, and
 * not in each round of judge_hello. */
__noinline int hello_name(u32 area, u32 n)
{
	struct work *w = this_work(area);
	struct stream *s;

	if (!w)
		return 0;
	s = &w->s;
	for (u32 i = 0; i < HASH_STEPS && i < n; i++) {
		barrier_var(s); /* else what the compiler keeps in registers multiplies states */
		name_byte(&s->name, next_byte(w));
	}
	s->name_left -= n;
	if (s->name_left)
		return 0;
	s->skip = s->rest;
	s->server = 1;
	hello_part(s, HELLO_EXTENSION, 4);
	name_end(area, SAID_SERVER);
	return 0;
}

/* Bytes of a number, of which there are at least n. */
static __always_inline void hello_bytes(struct work *w, u32 n)
{
	struct stream *s = &w->s;
	u32 number = s->number;

	for (u32 i = 0; i < HELLO_NUMBER && i < n; i++)
		number = number << 8 | next_byte(w);
	s->number = number;
	s->need -= n;
	if (!s->need)
		hello_number(s);
}

/* As many bytes of the same meaning as there are in the record, the message and the buffer. */
static __always_inline u32 hello_left(struct work *w, u32 n)
{
	if (n > w->s.record)
		n = w->s.record;
	if (n > w->s.body)
		n = w->s.body;
	return n > w->len - w->pos ? w->len - w->pos : n;
}

/* Passes extensions that are whole in these three, but for the last one and the name of the server. */
__noinline int hello_extensions(u32 area)
{
	struct work *w = this_work(area);
	struct stream *s;
	u32 pos, end;

	if (!w)
		return 0;
	s = &w->s;
	pos = w->pos;
	end = pos + hello_left(w, CHUNK);
	for (u32 i = 0; i < EXTENSIONS && pos + 4 < end; i++) {
		u32 kind = byte_at(w, pos) << 8 | byte_at(w, pos + 1);
		u32 n = 4 + (byte_at(w, pos + 2) << 8 | byte_at(w, pos + 3));

		if (kind == EXTENSION_SERVER || pos + n >= end)
			break;
		if (kind == EXTENSION_ALPN)
			s->alpn = 1;
		pos += n;
	}
	s->record -= pos - w->pos;
	s->body -= pos - w->pos;
	w->pos = pos;
	return 0;
}

/* A byte of the head of a record: its type, a version of two bytes, and its length. */
static __always_inline void record_head(struct stream *s, u8 c)
{
	if (!s->at && c != HANDSHAKE) {
		s->kind = DONE;
		return;
	}
	s->left = s->left << 8 | c;
	if (++s->at < RECORD_HEAD)
		return;
	s->record = s->left;
	s->at = 0;
}

static __always_inline void record_bytes(struct work *w)
{
	for (u32 i = 0; i < RECORD_HEAD && goes_on(w, HELLO) && !w->s.record; i++)
		record_head(&w->s, next_byte(w));
}

/* Whether extensions may be passed: not if the next one is the name of the server, as it mostly is. */
static __always_inline bool at_others(struct work *w)
{
	struct stream *s = &w->s;

	return s->sub == HELLO_EXTENSION && s->need == 4 && !s->skip &&
	       (byte_at(w, w->pos) | byte_at(w, w->pos + 1)) != EXTENSION_SERVER;
}

/* Passes what is skipped behind the buffer: it need not be read. The last byte of the message is, for
 * what comes after it. */
static __always_inline void hello_skip(struct work *w)
{
	struct stream *s = &w->s;
	u32 n = s->skip;

	if (n > s->record)
		n = s->record;
	if (n >= s->body)
		n = s->body - 1;
	if (n > w->left)
		n = w->left;
	s->skip -= n;
	s->record -= n;
	s->body -= n;
	w->from += n;
	w->left -= n;
}

__noinline int judge_hello(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on(w, HELLO); i++) {
		struct stream *s = &w->s;
		u32 n;

		if (!s->record) {
			record_bytes(w);
			continue;
		}
		if (at_others(w))
			hello_extensions(area);
		n = s->need;
		if (s->skip)
			n = s->skip;
		else if (s->sub == HELLO_NAME)
			n = s->name_left < HASH_STEPS ? s->name_left : HASH_STEPS;
		n = hello_left(w, n);
		s->record -= n;
		s->body -= n;
		if (s->skip) {
			s->skip -= n;
			w->pos += n;
		} else if (s->sub == HELLO_NAME) {
			hello_name(area, n);
		} else {
			hello_bytes(w, n);
		}
		if (s->body)
			continue;
		s->kind = DONE;
		if (!s->alpn)
			find(w, SAID_HELLO);
	}
	return 0;
}
