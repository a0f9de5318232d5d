/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whom a process has tried to reach in the last minute, and who answered. A connection is noted
 * when its SYN is about to leave, in the process, and its end in whatever runs when it comes.
 */
#pragma once

#include "net.bpf.h"
#include "finish.bpf.h"

#define PLACES 256 /* destinations of a process that are remembered */
#define TABLES 1024
#define PATIENCE_S 3 /* without an answer, after which nobody answers */

enum place_state {
	PLACE_WAITING,
	PLACE_ANSWERED,
	PLACE_REFUSED,
};

struct place {
	u32 address; /* folded, for IPv6 */
	u16 port;
	u8 state;
	u8 pad;
	u32 second; /* of the last attempt, 0 for none */
	u32 first;  /* attempt without an answer since */
};

struct scan_table {
	u64 start_ns; /* of the process */
	u32 pid;
	u32 said; /* bits of enum scan_rule */
	u32 used; /* places */
	u32 pad;
	struct place places[PLACES];
};

/* A process's table is at its hash, which nobody can foresee. Two that meet forget what was
 * counted. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TABLES);
	__type(key, u32);
	__type(value, struct scan_table);
} scan_tables SEC(".maps");

/* Connections without an answer, by the address of their socket. */
struct waiting {
	u64 start_ns;
	u32 table;
	u32 place;
	u32 address;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct waiting);
} waitings SEC(".maps");

/* Ports that are not counted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u32);
} except_ports SEC(".maps");

enum scan_rule {
	SCAN_NONE,
	SCAN_DISTINCT,
	SCAN_UNANSWERED,
	SCAN_PENDING,
	SCAN_PORTS,
	SCAN_GUESSING,
};

const enum scan_rule *unused_scan_rule __attribute__((unused));

/* 0 turns a rule off. */
const volatile u32 scan_distinct, scan_unanswered, scan_web_factor, scan_pending, scan_ports, scan_guessing,
	scan_window_s;
const volatile u32 act_distinct, act_scan, act_guessing;
const volatile u64 scan_secret;
const volatile bool has_except_ports;

/* One count. In memory, of whose content the verifier knows nothing. */
struct scan_count {
	u32 table, address, second;
	u32 at;			   /* the place of this destination */
	u32 oldest, oldest_second; /* the place that is used next */
	u16 port;
	u16 pad;
	u32 all, open, late, of_port, open_of_port, open_of_address;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scan_count);
} scan_counts SEC(".maps");

__noinline int count_place(u32 i)
{
	u32 zero = 0;
	struct scan_count *c = bpf_map_lookup_elem(&scan_counts, &zero);
	struct scan_table *t;
	struct place *p;
	bool open, same_port;

	if (!c)
		return 0;
	t = bpf_map_lookup_elem(&scan_tables, &c->table);
	if (!t)
		return 0;
	p = &t->places[i & (PLACES - 1)];
	if (p->second && c->second - p->second >= scan_window_s)
		p->second = 0;
	if (p->second < c->oldest_second) {
		c->oldest_second = p->second;
		c->oldest = i;
	}
	if (!p->second)
		return 0;
	same_port = p->port == c->port;
	if (same_port && p->address == c->address)
		c->at = i;
	open = p->state != PLACE_ANSWERED;
	c->all++;
	c->open += open;
	c->late += p->state == PLACE_REFUSED || (open && c->second - p->first >= PATIENCE_S);
	c->of_port += same_port;
	c->open_of_port += open && same_port;
	c->open_of_address += open && p->address == c->address;
	return 0;
}

/* Log-ins that are guessed: SSH, telnet, SMB, RDP, VNC, ADB and databases. */
static __always_inline bool is_login_port(u16 port)
{
	switch (port) {
	case 22:
	case 23:
	case 445:
	case 1433:
	case 2222:
	case 2323:
	case 2375:
	case 3306:
	case 3389:
	case 5432:
	case 5555:
	case 5900:
	case 6379:
		return true;
	}
	return false;
}

static __always_inline enum scan_rule scan_rule(struct scan_count *c)
{
	u32 unanswered = scan_unanswered;

	if (c->port == 80 || c->port == PORT_HTTPS)
		unanswered *= scan_web_factor;
	if (scan_distinct && c->all > scan_distinct)
		return SCAN_DISTINCT;
	/* One port of many hosts, most of which do not answer. */
	if (unanswered && c->late >= unanswered && c->late * 3 >= c->all * 2 && c->open_of_port * 2 >= c->open)
		return SCAN_UNANSWERED;
	if (scan_pending && c->open >= scan_pending)
		return SCAN_PENDING;
	if (scan_ports && c->open_of_address >= scan_ports)
		return SCAN_PORTS;
	if (scan_guessing && is_login_port(c->port) && c->of_port >= scan_guessing)
		return SCAN_GUESSING;
	return SCAN_NONE;
}

/* Kills by the tracing program, where programs of a cgroup cannot, and sends the event. */
static __always_inline void tell_scan(u32 area, u32 decided)
{
	if (decided & DECIDED_UNKILLED && !bpf_send_signal(SIGKILL))
		decided &= ~DECIDED_UNKILLED;
	if (decided & DECIDED_UNKILLED)
		count_fate(BECAUSE_SCAN, FATE_LEFT);
	tell_suspect(area, decided);
}

static __always_inline void finish_scan(struct suspect *x)
{
	u32 area, decided;
	struct suspect *shared;
	struct work *w;

	if (x->act == ACT_NOTHING)
		return;
	if (observe || x->act == ACT_REFUSE) /* it cannot be refused here */
		x->act = ACT_OBSERVE;
	/* One that passes on what others send connects for them. */
	if (x->act > ACT_REFUSE && serves())
		x->act = ACT_OBSERVE;
	area = take_area();
	shared = this_suspect(area);
	w = this_work(area);
	if (!shared || !w) {
		count(DISTURBED);
		return;
	}
	*shared = *x;
	decided = decide_suspect(area, false);
	if (!(decided & DECIDED_AGENT))
		tell_scan(area, decided);
	leave_area(w);
}

static __always_inline u32 fold(u32 *w)
{
	return w[0] ^ w[1] * 31 ^ w[2] * 1009 ^ w[3] * 92821;
}

static __always_inline void note_attempt(struct sock *sk)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct suspect x = {
		.began_ns = bpf_ktime_get_ns(), .protocol = IPPROTO_TCP, .somebody = true, .reason = BECAUSE_SCAN};
	u64 start_ns = BPF_CORE_READ(task, group_leader, start_boottime), id = (u64)sk;
	u32 zero = 0, pid = BPF_CORE_READ(task, tgid), slot, port, at;
	struct waiting w = {.start_ns = start_ns};
	struct scan_count *c = bpf_map_lookup_elem(&scan_counts, &zero);
	struct scan_table *t;
	struct place *p;
	enum scan_rule rule;

	x.to.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	x.to.port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (x.to.family == AF_INET)
		x.to.word[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	else
		BPF_CORE_READ_INTO(&x.to.word, sk, __sk_common.skc_v6_daddr);
	unmap(&x.to);
	port = x.to.port;
	if (is_private(&x.to) || (has_except_ports && bpf_map_lookup_elem(&except_ports, &port)))
		return;
	slot = (u32)((start_ns ^ pid ^ scan_secret) * 0x9e3779b97f4a7c15ULL >> 40) & (TABLES - 1);
	t = bpf_map_lookup_elem(&scan_tables, &slot);
	if (!c || !t)
		return;
	if (t->start_ns != start_ns || t->pid != pid) {
		t->start_ns = start_ns;
		t->pid = pid;
		t->said = 0;
		t->used = 0;
	}
	__builtin_memset(c, 0, sizeof(*c));
	c->table = slot;
	c->address = x.to.family == AF_INET ? x.to.word[0] : fold(x.to.word);
	c->port = x.to.port;
	c->second = x.began_ns / 1000000000ULL + scan_window_s; /* not 0 */
	c->at = PLACES;
	c->oldest_second = ~0U;
	for (u32 i = 0; i < PLACES && i < t->used; i++)
		count_place(i);
	at = c->at;
	if (at == PLACES) {
		at = c->oldest;
		if (c->oldest_second && t->used < PLACES) { /* no place is free */
			at = t->used & (PLACES - 1);
			t->used++;
		}
		p = &t->places[at & (PLACES - 1)];
		p->address = c->address;
		p->port = c->port;
		p->state = PLACE_WAITING;
		p->first = c->second;
		c->all++;
		c->of_port++;
	}
	p = &t->places[at & (PLACES - 1)];
	p->second = c->second;
	if (p->state == PLACE_ANSWERED)
		p->first = c->second;
	w.table = slot;
	w.place = at;
	w.address = c->address;
	bpf_map_update_elem(&waitings, &id, &w, BPF_ANY);
	rule = scan_rule(c);
	if (rule == SCAN_NONE || t->said >> rule & 1)
		return;
	t->said |= 1 << rule;
	x.finding = rule;
	x.counts = c->all;
	x.act = rule == SCAN_DISTINCT ? act_distinct : rule == SCAN_GUESSING ? act_guessing : act_scan;
	finish_scan(&x);
}

static __always_inline void note_end(struct sock *sk, u8 state)
{
	u64 id = (u64)sk;
	struct waiting *w = bpf_map_lookup_elem(&waitings, &id);
	struct scan_table *t;
	struct place *p;

	if (!w)
		return;
	t = bpf_map_lookup_elem(&scan_tables, &w->table);
	if (t && t->start_ns == w->start_ns) {
		p = &t->places[w->place & (PLACES - 1)];
		if (p->address == w->address && state != TCP_CLOSE)
			p->state = PLACE_ANSWERED;
		else if (p->address == w->address && p->state == PLACE_WAITING)
			p->state = PLACE_REFUSED;
	}
	bpf_map_delete_elem(&waitings, &id);
}

/* The one program that counts. It is replaced in one step: each attempt is counted once. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} counting SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int watch_connects(u64 *ctx)
{
	bpf_tail_call(ctx, &counting, 0);
	return 0;
}

/* In the place of watch_connects. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(count_connects, struct sock *sk, int from, int to)
{
	if (to == TCP_SYN_SENT)
		note_attempt(sk);
	else if (from == TCP_SYN_SENT)
		note_end(sk, to);
	return 0;
}
