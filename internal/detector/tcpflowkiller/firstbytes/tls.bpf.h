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

#define HANDSHAKE 22 /* type of a record */
#define CLIENT_HELLO 1
#define VERSION_AND_RANDOM 34
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
		s->body = (n & 0xffffff) + 1; /* with this byte, which is yet to be counted */
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

static __always_inline void hello_byte(struct work *w, u8 c)
{
	struct stream *s = &w->s;

	if (s->sub != HELLO_NAME) {
		s->number = s->number << 8 | c;
		if (!--s->need)
			hello_number(s);
		return;
	}
	name_byte(&s->name, c);
	if (--s->name_left)
		return;
	s->skip = s->rest;
	s->server = 1;
	hello_part(s, HELLO_EXTENSION, 4);
	name_end(w, SAID_SERVER);
}

/* The head of a record: its type, a version of two bytes, and its length. */
static __always_inline void record_head(struct stream *s, u8 c)
{
	if (!s->at && c != HANDSHAKE) {
		s->kind = DONE;
		return;
	}
	s->left = s->left << 8 | c;
	if (++s->at < 5)
		return;
	s->record = s->left;
	s->at = 0;
}

__noinline int judge_hello(void)
{
	struct work *w = this_work();

	if (!w)
		return 0;
	for (u32 i = 0; i < STEPS && goes_on(w, HELLO); i++) {
		struct stream *s = &w->s;
		u32 n = 1;

		if (!s->record) {
			record_head(s, next_byte(w));
			continue;
		}
		if (s->skip) {
			u32 here = w->len - w->pos;

			n = s->skip;
			if (n > s->record)
				n = s->record;
			if (n > s->body)
				n = s->body;
			if (n > here)
				n = here;
			s->skip -= n;
			w->pos += n;
		} else {
			hello_byte(w, next_byte(w));
		}
		s->record -= n;
		s->body -= n;
		if (s->body)
			continue;
		s->kind = DONE;
		if (!s->alpn)
			find(w, SAID_HELLO);
	}
	return 0;
}
