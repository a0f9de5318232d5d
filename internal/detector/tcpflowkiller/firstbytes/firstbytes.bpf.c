//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/* Judges bytes that user space gives, for tests. */
#include "kernel.h"
#include "skb.bpf.h"
#include "judge.bpf.h"

/* How a packet begins; the bytes follow. */
struct order {
	u32 fresh; /* whether a stream begins */
	u32 query; /* and is a DNS question: 1 by UDP, 2 by TCP */
};

struct answer {
	u32 stop;
	u32 found;
	u32 listed;
	u32 port;
	u32 kind;
	u32 in_http;
};

const struct order *unused_order __attribute__((unused));
const struct answer *unused_answer __attribute__((unused));
const enum finding *unused_finding __attribute__((unused));
const enum word *unused_word __attribute__((unused));
const enum key *unused_key __attribute__((unused));
const enum context *unused_context __attribute__((unused));
const enum name_action *unused_name_action __attribute__((unused));

/* Between two packets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct stream);
} streams SEC(".maps");

struct answer last_answer;

static __always_inline int run(struct __sk_buff *skb, bool judges)
{
	u32 zero = 0, area;
	struct stream *s = bpf_map_lookup_elem(&streams, &zero);
	struct work *w;
	struct order o;

	if (!s || bpf_skb_load_bytes(skb, 0, &o, sizeof(o)))
		return 0;
	area = take_area();
	w = this_work(area);
	if (!w)
		return 0;
	if (o.fresh) {
		__builtin_memset(&w->s, 0, sizeof(w->s));
		if (o.query)
			query_begin(&w->s, o.query == 2);
	} else {
		__builtin_memcpy(&w->s, s, sizeof(w->s));
	}
	w->stop = 0;
	w->urgent = 0;
	w->from = sizeof(o);
	w->left = skb->len - sizeof(o);
	if (judges)
		judge_packet(skb, w);
	__builtin_memcpy(s, &w->s, sizeof(w->s));
	last_answer.stop = w->stop;
	last_answer.found = w->s.found;
	last_answer.listed = w->s.listed;
	last_answer.port = w->s.port;
	last_answer.kind = w->s.kind;
	last_answer.in_http = w->s.in_http;
	leave_area(w);
	return 1;
}

SEC("cgroup_skb/egress")
int judge_bytes(struct __sk_buff *skb)
{
	return run(skb, true);
}

/* The same without the judgement: what of the time of a run is that of this program. */
SEC("cgroup_skb/egress")
int copy_state(struct __sk_buff *skb)
{
	return run(skb, false);
}

char _license[] SEC("license") = "GPL";
