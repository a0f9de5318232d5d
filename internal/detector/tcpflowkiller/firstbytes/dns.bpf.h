/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first question of a DNS message (RFC 1035, 4.1). Its type is left in s->number. */
#pragma once

#include "stream.bpf.h"
#include "names.bpf.h"

enum query_part {
	QUERY_HEAD,
	QUERY_LABEL,
	QUERY_BYTES,
	QUERY_TYPE,
};

#define QUERY_HEAD_BYTES 12
#define QUERY_LENGTH_BYTES 2 /* before it on TCP */
#define QUERY_ANSWER 0x80    /* in the byte after the id */

static __always_inline void query_begin(struct stream *s, bool tcp)
{
	s->kind = QUERY;
	s->sub = QUERY_HEAD;
	s->need = QUERY_HEAD_BYTES + (tcp ? QUERY_LENGTH_BYTES : 0);
	name_begin(&s->name);
}

/* Whether a question with this type comes before a connection: those of mail servers do not. */
static __always_inline bool asks_address(u32 type)
{
	return type == 1 /* A */ || type == 5 /* CNAME */ || type == 28 /* AAAA */ || type == 65 /* HTTPS */ ||
	       type == 255 /* any */;
}

__noinline int judge_query(u32 area)
{
	struct work *w = this_work(area);

	if (!w)
		return 0;
	for (u32 i = 0; i < FEW_STEPS && goes_on(w, QUERY); i++) {
		struct stream *s = &w->s;
		u8 c = next_byte(w);

		if (s->sub == QUERY_HEAD) {
			if (s->need == QUERY_HEAD_BYTES - 2 && c & QUERY_ANSWER)
				s->kind = DONE;
			else if (!--s->need)
				s->sub = QUERY_LABEL;
		} else if (s->sub == QUERY_BYTES) {
			name_byte(&s->name, c);
			if (!--s->left)
				s->sub = QUERY_LABEL;
		} else if (s->sub == QUERY_TYPE) {
			s->number = s->number << 8 | c;
			if (!--s->need) {
				s->kind = DONE;
				name_end(area, SAID_QUERY);
			}
		} else if (!c) {
			s->sub = QUERY_TYPE;
			s->need = 2;
			s->number = 0;
		} else if (c > 63) { /* no label */
			s->kind = DONE;
		} else {
			name_byte(&s->name, '.');
			s->left = c;
			s->sub = QUERY_BYTES;
		}
	}
	return 0;
}
