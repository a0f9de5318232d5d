/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Judges the first bytes of a stream, in whatever pieces they come. The caller fills in the
 * struct work of this CPU.
 */
#pragma once

#include "stream.bpf.h"
#include "names.bpf.h"
#include "json.bpf.h"
#include "proxy.bpf.h"
#include "tls.bpf.h"
#include "dns.bpf.h"

#define BEGINNING 64 /* bytes of a packet that are read first of a stream that may be none of these */

#define PROXIES 8 /* one through another, that a stream may ask */

/* An object, a batch, or another value, which pools skip. */
static __always_inline bool begins_json(u8 c)
{
	return c == '{' || c == '[' || c == '"' || c == '-' || (c >= '0' && c <= '9') || c == 't' || c == 'f' ||
	       c == 'n';
}

/* What the next byte says, after white space. */
__noinline int judge_start(u32 area)
{
	struct work *w = this_work(area);
	struct stream *s;
	u8 c = ' ';

	if (!w)
		return 0;
	s = &w->s;
	for (u32 i = 0; i < FEW_STEPS && w->pos < w->len && is_space(c); i++)
		c = next_byte(w);
	if (is_space(c))
		return 0;
	w->pos--; /* it is judged again, by its kind */
	s->kind = DONE;
	if (s->proxies > PROXIES)
		return 0;
	if (begins_json(c)) {
		json_begin(s);
	} else if (c == HANDSHAKE) {
		hello_begin(s);
	} else if (c == 'P' || c == 'C') {
		s->proxies++;
		http_begin(s, c);
	} else if (c == 4 || c == 5 || !c) {
		s->proxies++;
		socks_begin(s, c);
		w->pos++;
	}
	return 0;
}

static __always_inline bool is_judged(struct work *w)
{
	return w->pos >= w->len || w->stop || w->s.kind == DONE;
}

/* Each turn but 2 for each proxy and that of the last kind takes FEW_STEPS bytes or more. */
#define TURNS (CHUNK / FEW_STEPS + 3 * PROXIES + 4)

/* Judges what is in the buffer. */
__noinline int judge_buffer(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < TURNS && !is_judged(w); i++) {
		if (w->s.kind == START)
			judge_start(area);
		else if (w->s.kind == JSON)
			judge_json(area);
		else if (w->s.kind == HTTP)
			judge_http(area);
		else if (w->s.kind == SOCKS)
			judge_socks(area);
		else if (w->s.kind == HELLO)
			judge_hello(area);
		else
			judge_query(area);
	}
	return 0;
}

/* Judges the next piece of the packet. Returns 0 after the last. */
__noinline int judge_piece(struct __sk_buff *skb, u32 area)
{
	struct work *w = this_work(area);
	u32 n;

	if (w && w->s.kind == HELLO && !w->urgent)
		hello_skip(w);
	if (!w || !w->left || w->stop || w->s.kind == DONE)
		return 0;
	if (w->from == w->urgent) {
		w->from++;
		w->left--;
		return 1;
	}
	n = w->left;
	if (w->urgent > w->from && n > w->urgent - w->from)
		n = w->urgent - w->from;
	if (n > CHUNK)
		n = CHUNK;
	if (w->s.kind == START && !w->len && n > BEGINNING)
		n = BEGINNING;
	n = ((n - 1) & (CHUNK - 1)) + 1; /* which the verifier of 5.10 does not see */
	if (bpf_skb_load_bytes(skb, w->from, w->buf, n)) {
		w->s.kind = DONE;
		return 0;
	}
	w->pos = 0;
	w->len = n;
	judge_buffer(area);
	w->from += w->pos; /* all n, unless nothing more is judged */
	w->left -= w->pos;
	return 1;
}

/* As many pieces as the window has, with a shorter one at the beginning, one before an urgent byte, and that
 * byte. A kind of stream that made pieces shorter again and again would pass for judged. */
#define PIECES (WINDOW / CHUNK + 4)

/* What is not judged, though the stream may still say something, is w->left: only behind WINDOW bytes. */
static __always_inline void judge_packet(struct __sk_buff *skb, struct work *w)
{
	w->len = 0;
	for (u32 i = 0; i < PIECES; i++)
		if (!judge_piece(skb, w->area))
			return;
}
