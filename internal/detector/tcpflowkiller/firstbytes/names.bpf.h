/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names as they come, byte by byte, and whether they or what they end in are listed. The hash
 * of an ending follows from that of the whole and that of what came before it, so it takes one
 * look-up a label.
 */
#pragma once

#include "stream.bpf.h"

/* By the hash of the name, with its length in the highest byte. The value is not 0: the lower
 * bits are an index of user space, the others what is to be done. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u32);
} names SEC(".maps");

/* What is to be done with who names a name; for USUAL it depends on what else is seen. */
enum name_action {
	NAME_USUAL,
	NAME_OBSERVE,
	NAME_REFUSE,
	NAME_KILL,
};

#define NAME_ACTION_SHIFT 28

static __always_inline enum name_action name_action(u32 listed)
{
	return listed >> NAME_ACTION_SHIFT & 3;
}

/* What of the findings decides: those of a plain stream, in the body of an HTTP request, and
 * of a stream to a listed name. */
const volatile u32 decides_plain, decides_http, decides_listed;

static __always_inline void find(struct work *w, u32 finding)
{
	w->s.found |= finding;
	if (w->s.in_http)
		w->stop |= w->s.found & decides_http;
	else if (w->s.listed && name_action(w->s.listed) != NAME_OBSERVE)
		w->stop |= w->s.found & decides_listed;
	else
		w->stop |= w->s.found & decides_plain;
}

static __always_inline void name_begin(struct name *n)
{
	n->hash = 0;
	n->len = 0;
	n->labels = 0;
	n->dot = 0;
}

/* Whether a label begins: at the first byte, and behind dots. Without a branch, as lower. */
static __always_inline bool at_label(struct name *n)
{
	u32 before = n->len;

	barrier_var(before);
	return n->dot | (before - 1) >> 31;
}

static __always_inline void label_begin(struct name *n)
{
	u32 i = n->labels & (LABELS - 1);

	if (n->len) {
		n->hash = hash_byte(n->hash, '.');
		n->len++;
	}
	n->before[i] = n->hash;
	n->start[i] = n->len;
	n->labels++;
	n->dot = 0;
}

static __always_inline void name_byte(struct name *n, u8 c)
{
	if (n->len >= NAME_MAX)
		return;
	if (c == '.') {
		n->dot = 1;
		return;
	}
	if (at_label(n))
		label_begin(n);
	n->hash = hash_byte(n->hash, lower(c));
	n->len++;
}

/* The value of the name, or of what it ends in: of the longest that is listed. 0 for none. */
static __always_inline u32 look_up_name(struct work *w)
{
	u32 labels = w->s.name.labels, first = labels > LABELS ? labels - LABELS : 0;

	for (u32 i = 0; i < LABELS && first + i < labels; i++) {
		u32 at = (first + i) & (LABELS - 1);
		u32 len = (w->s.name.len - w->s.name.start[at]) & 255;
		u64 hash = (w->s.name.hash - w->s.name.before[at] * power[len]) ^ (u64)len << 56;
		u32 *listed = bpf_map_lookup_elem(&names, &hash);

		if (listed)
			return *listed;
	}
	return 0;
}

/* A name is complete. */
__noinline int name_end(u32 area, u32 finding)
{
	struct work *w = this_work(area);
	u32 listed;

	if (!w)
		return 0;
	listed = look_up_name(w);
	if (!listed)
		return 0;
	w->s.listed = listed;
	if (finding == SAID_QUERY || name_action(listed) > NAME_OBSERVE)
		w->stop |= finding;
	find(w, finding);
	return 0;
}
