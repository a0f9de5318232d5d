/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What goes before: the head of an HTTP request, the handshake of SOCKS, and the PROXY protocol. */
#pragma once

#include "stream.bpf.h"
#include "names.bpf.h"
#include "json.bpf.h"

enum http_part {
	HTTP_METHOD,
	HTTP_HOST,
	HTTP_HOST_V6,
	HTTP_PORT,
	HTTP_HEAD,
};

/* Values of connect: the head is that of CONNECT, or the line of the PROXY protocol, version 1. */
#define CONNECTS 1
#define PROXY_LINE 2

static __always_inline void http_begin(struct stream *s, u8 c)
{
	s->kind = HTTP;
	s->sub = HTTP_METHOD;
	s->connect = c == 'C' ? CONNECTS : 0;
	s->at = 0;
	s->newlines = 0;
}

static __always_inline bool goes_on_with(struct work *w, u8 part)
{
	return goes_on(w, HTTP) && w->s.sub == part;
}

/* Bytes of the method. Global, as those below: each is verified once, and not in each round of judge_http. */
__noinline int http_method(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on_with(w, HTTP_METHOD); i++) {
		struct stream *s = &w->s;
		u8 c = next_byte(w);

		if (c == ' ') {
			s->sub = s->connect == CONNECTS ? HTTP_HOST : HTTP_HEAD;
			name_begin(&s->name);
		} else if (s->at++ > 7 || c < 'A' || c > 'Z') {
			s->kind = DONE;
		} else if (c == 'X' && s->at == 4 && !s->connect) {
			s->connect = PROXY_LINE;
		}
	}
	return 0;
}

#define BIT(c) (1ULL << (c))

static __always_inline bool ends_host(u8 c)
{
	return c < 64 && (BIT(':') | BIT(' ') | BIT('\r') | BIT('\n')) >> (c & 63) & 1;
}

/* Bytes of the host of CONNECT. */
__noinline int http_host(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on_with(w, HTTP_HOST); i++) {
		struct stream *s = &w->s;
		u8 c = next_byte(w);

		if (ends_host(c))
			s->sub = c == ':' ? HTTP_PORT : HTTP_HEAD;
		else if (c == '[')
			s->sub = HTTP_HOST_V6;
		else
			name_byte(&s->name, c);
	}
	if (w->s.sub < HTTP_PORT)
		return 0;
	w->s.port = 0;
	name_end(area, SAID_HOST);
	return 0;
}

/* A byte of an address in brackets, or of the port. */
static __always_inline void http_number(struct stream *s, u8 c)
{
	if (s->sub == HTTP_HOST_V6) {
		if (c == ']')
			s->sub = HTTP_HOST;
	} else if (c >= '0' && c <= '9') {
		s->port = s->port * 10 + (c - '0');
	} else {
		s->sub = HTTP_HEAD;
	}
}

/* Bytes of the lines of the head, up to its end. */
__noinline int http_lines(u32 area)
{
	struct work *w = this_work(area);
	bool ends = false;
	struct stream *s;
	u32 pos, n;

	if (!w)
		return 0;
	s = &w->s;
	pos = w->pos;
	n = w->len - pos;
	for (u32 i = 0; i < STEPS && i < n && !ends; i++) {
		u8 c = byte_at(w, pos++);

		if (c == '\n') {
			ends = s->newlines || s->connect == PROXY_LINE;
			s->newlines = 1;
		} else if (c != '\r') {
			s->newlines = 0;
		}
	}
	w->pos = pos;
	if (!ends)
		return 0;
	s->newlines = 0;
	if (s->connect) {
		s->kind = START;
	} else {
		s->in_http = 1;
		json_begin(s);
	}
	return 0;
}

__noinline int judge_http(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on(w, HTTP); i++) {
		u8 part = w->s.sub;

		if (part == HTTP_HEAD)
			http_lines(area);
		else if (part == HTTP_METHOD)
			http_method(area);
		else if (part == HTTP_HOST)
			http_host(area);
		else
			http_number(&w->s, next_byte(w));
	}
	return 0;
}

/*
 * RFC 1928, with the log-in of RFC 1929 between:
 *	05 count method...
 *	01 length user length password
 *	05 command 00 type address port
 * Version 4, with a name in 4a:
 *	04 command port address user 00 [name 00]
 * The PROXY protocol, version 2, of which white space comes before:
 *	00 0d 0a 'QUIT' 0a version family length...
 */
#define PROXY2_HEAD_BYTES 9 /* of the signature after its NUL, and of version and family */

enum socks_part {
	SOCKS_VERSION,
	SOCKS_METHODS,
	SOCKS_SKIP_METHODS,
	SOCKS_USER,
	SOCKS_SKIP_USER,
	SOCKS_PASSWORD,
	SOCKS_SKIP_PASSWORD,
	SOCKS_COMMAND,
	SOCKS_ZERO,
	SOCKS_TYPE,
	SOCKS_LENGTH,
	SOCKS_NAME,
	SOCKS_ADDRESS,
	SOCKS_PORT,
	PROXY2_HEAD,
	PROXY2_LENGTH,
	PROXY2_REST,
	SOCKS4_COMMAND,
	SOCKS4_PORT,
	SOCKS4_ADDRESS,
	SOCKS4_USER,
	SOCKS4_NAME,
};

/* The next part, of that many bytes; after none there is another. */
static __always_inline void socks_part(struct stream *s, u8 part, u32 left)
{
	s->sub = part;
	s->left = left;
	s->number = 0;
}

/* After the first byte. */
static __always_inline void socks_begin(struct stream *s, u8 first)
{
	s->kind = SOCKS;
	if (!first)
		socks_part(s, PROXY2_HEAD, PROXY2_HEAD_BYTES);
	else
		s->sub = first == 4 ? SOCKS4_COMMAND : SOCKS_METHODS;
}

static __always_inline void socks5(struct work *w, u8 c)
{
	struct stream *s = &w->s;

	switch (s->sub) {
	case SOCKS_METHODS:
		socks_part(s, c ? SOCKS_SKIP_METHODS : SOCKS_VERSION, c);
		return;
	case SOCKS_VERSION:
		if (c == 5)
			s->sub = SOCKS_COMMAND;
		else if (c == 1)
			s->sub = SOCKS_USER;
		else
			s->kind = DONE;
		return;
	case SOCKS_USER:
		socks_part(s, c ? SOCKS_SKIP_USER : SOCKS_PASSWORD, c);
		return;
	case SOCKS_PASSWORD:
		socks_part(s, c ? SOCKS_SKIP_PASSWORD : SOCKS_VERSION, c);
		return;
	case SOCKS_SKIP_METHODS:
	case SOCKS_SKIP_PASSWORD:
		if (!--s->left)
			s->sub = SOCKS_VERSION;
		return;
	case SOCKS_SKIP_USER:
		if (!--s->left)
			s->sub = SOCKS_PASSWORD;
		return;
	case SOCKS_COMMAND:
		s->sub = SOCKS_ZERO;
		return;
	case SOCKS_ZERO:
		s->sub = SOCKS_TYPE;
		return;
	case SOCKS_TYPE:
		if (c == 3)
			s->sub = SOCKS_LENGTH;
		else
			socks_part(s, SOCKS_ADDRESS, c == 1 ? 4 : 16);
		return;
	case SOCKS_LENGTH:
		name_begin(&s->name);
		socks_part(s, SOCKS_NAME, c);
		if (!c)
			s->kind = DONE;
		return;
	}
	s->kind = DONE;
}

static __always_inline void socks4(struct work *w, u8 c)
{
	struct stream *s = &w->s;

	switch (s->sub) {
	case SOCKS4_COMMAND:
		socks_part(s, SOCKS4_PORT, 2);
		if (c != 1)
			s->kind = DONE;
		return;
	case SOCKS4_USER:
		if (c)
			return;
		if (s->number && s->number < 256) { /* 0.0.0.x: a name follows */
			s->sub = SOCKS4_NAME;
			name_begin(&s->name);
		} else {
			s->kind = START;
		}
		return;
	case SOCKS4_NAME:
		if (c) {
			name_byte(&s->name, c);
			return;
		}
		s->kind = START;
		name_end(w->area, SAID_HOST);
		return;
	}
	s->kind = DONE;
}

__noinline int judge_socks(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on(w, SOCKS); i++) {
		struct stream *s = &w->s;
		u8 c = next_byte(w);

		switch (s->sub) {
		case SOCKS_NAME:
			name_byte(&s->name, c);
			if (--s->left)
				continue;
			socks_part(s, SOCKS_PORT, 2);
			name_end(w->area, SAID_HOST);
			continue;
		case SOCKS_ADDRESS:
			if (!--s->left)
				socks_part(s, SOCKS_PORT, 2);
			continue;
		case PROXY2_HEAD:
			if (!--s->left)
				socks_part(s, PROXY2_LENGTH, 2);
			continue;
		case PROXY2_LENGTH:
			s->number = s->number << 8 | c;
			if (--s->left)
				continue;
			s->skip = s->number;
			s->sub = PROXY2_REST;
			if (!s->skip)
				s->kind = START;
			continue;
		case PROXY2_REST:
			if (!--s->skip)
				s->kind = START;
			continue;
		case SOCKS_PORT:
		case SOCKS4_PORT:
			s->number = s->number << 8 | c;
			if (--s->left)
				continue;
			s->port = s->number;
			if (s->sub == SOCKS_PORT)
				s->kind = START;
			else
				socks_part(s, SOCKS4_ADDRESS, 4);
			continue;
		case SOCKS4_ADDRESS:
			s->number = s->number << 8 | c;
			if (!--s->left)
				s->sub = SOCKS4_USER;
			continue;
		}
		if (s->sub >= SOCKS4_COMMAND)
			socks4(w, c);
		else
			socks5(w, c);
	}
	return 0;
}
