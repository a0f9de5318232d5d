/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What leaves a socket. Of a TCP connection, the bytes from the first one on are judged while
 * they can still say something; after them a packet costs a look at its socket.
 */
#pragma once

#include "net.bpf.h"
#include "skb.bpf.h"
#include "judge.bpf.h"
#include "finish.bpf.h"

/* A connection that is followed, or refused. It is kept with its socket: so nobody can have it
 * forgotten by making many, and it ends with the socket. */
struct kept {
	struct stream s;
	u32 next; /* position of the first byte that was not judged */
	u32 refused;
	u32 connects; /* a SYN was sent since */
	/* Of a refusal whose event was lost; 0 for none. */
	u32 untold_act;
	u32 reason, finding, listed;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kept);
} streams SEC(".maps");

/* Processes, by thread group, that have asked DNS for a listed name. */
struct mark {
	u64 start_ns; /* of the process */
	u64 at_ns;
	u64 told_ns; /* when the agent was told */
	u32 listed;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct mark);
} marks SEC(".maps");

#define MARK_NS 60000000000ULL

/* What is to be done for findings. */
const volatile u32 act_stratum;	    /* words that only miners say */
const volatile u32 act_ambiguous;   /* words that others say as well */
const volatile u32 act_http;	    /* any of both in the body of a request */
const volatile u32 act_listed;	    /* any of both on a connection to a listed name */
const volatile u32 act_hello;	    /* TLS without ALPN to a listed name */
const volatile u32 act_hello_https; /* the same to port 443 */
const volatile u32 act_mark;	    /* a DNS question for one */
const volatile bool has_names;

#define AMBIGUOUS (SAID_TEMPLATE | SAID_WORK)

/* Marks the current process. Returns whether the agent is to be told: not more often than once in
 * MARK_NS, so that it is not kept from other events. Global, so that it is verified once, and for its own
 * part of the stack. */
__noinline int mark_current(u32 listed)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct mark m = {.start_ns = start_of(task), .at_ns = bpf_ktime_get_ns(), .listed = listed}, *old;

	if (serves_dns())
		return false;
	count(MARKED);
	old = bpf_map_lookup_elem(&marks, &tgid);
	m.told_ns = m.at_ns;
	if (old && old->start_ns == m.start_ns && m.at_ns - old->told_ns < MARK_NS)
		m.told_ns = old->told_ns;
	bpf_map_update_elem(&marks, &tgid, &m, BPF_ANY);
	return m.told_ns == m.at_ns;
}

/* The name for which the current process is marked, 0 for none. */
static __always_inline u32 current_mark(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u32 tgid = BPF_CORE_READ(task, tgid);
	struct mark *m = bpf_map_lookup_elem(&marks, &tgid);

	if (!m || m->start_ns != start_of(task) || bpf_ktime_get_ns() - m->at_ns > MARK_NS)
		return 0;
	return m->listed;
}

static __always_inline enum act act_of_name(u32 listed)
{
	switch (name_action(listed)) {
	case NAME_OBSERVE:
		return ACT_OBSERVE;
	case NAME_REFUSE:
		return ACT_REFUSE;
	case NAME_KILL:
		return ACT_KILL_CONTAINED;
	default:
		return ACT_NOTHING;
	}
}

/* What the stream in an area has newly said, and what is to be done for it. Global, so that it is verified once. */
__noinline int weigh_findings(u32 area, u32 fresh)
{
	struct work *w = this_work(area);
	struct suspect *x = this_suspect(area);
	u32 listed, what;
	u16 asked; /* the port that it asked a proxy for, or 0 */

	if (!w || !x)
		return 0;
	listed = w->s.listed;
	asked = w->s.port;
	what = w->stop ? w->stop : fresh;
	x->listed = listed;
	x->asked_port = asked;
	x->finding = what;
	if (what & STRATUM) {
		x->reason = BECAUSE_STRATUM;
		x->finding = what & STRATUM;
		if (w->s.in_http) {
			x->act = act_http;
			return 0;
		}
		x->act = what & STRATUM & ~AMBIGUOUS ? act_stratum : act_ambiguous;
		if (!listed && has_names && x->somebody)
			listed = current_mark();
		if (listed && name_action(listed) != NAME_OBSERVE && x->act < act_listed) {
			x->listed = listed;
			x->act = act_listed;
		}
		return 0;
	}
	x->reason = BECAUSE_NAME;
	if (what & (SAID_QUERY | SAID_HOST | SAID_SERVER)) {
		x->act = act_of_name(listed);
		if (x->act != ACT_NOTHING)
			return 0;
	}
	if (!(what & SAID_HELLO))
		return 0;
	/* One that names another server goes to that one, whatever it asked before; and a server of one's own
	 * network is no pool. Else who has a service ask for a pool's name cuts it off from its database. */
	if (!listed && x->somebody && !w->s.server && (asked || !is_near(&x->to)))
		listed = current_mark();
	if (!listed || name_action(listed) == NAME_OBSERVE)
		return 0;
	x->finding = SAID_HELLO;
	x->listed = listed;
	x->act = (asked ? asked : x->to.port) == PORT_HTTPS ? act_hello_https : act_hello;
	return 0;
}

/* Where a packet goes to, without its port. */
static __always_inline void destination(struct address *a, struct __sk_buff *skb)
{
	u8 version;

	if (bpf_skb_load_bytes(skb, 0, &version, 1))
		return;
	if (version >> 4 == 4) {
		a->family = AF_INET;
		bpf_skb_load_bytes(skb, 16, a->word, 4);
	} else {
		a->family = AF_INET6;
		bpf_skb_load_bytes(skb, 24, a->word, 16);
	}
}

static __always_inline u16 number16(u8 *b)
{
	return b[0] << 8 | b[1];
}

/* The offset of what follows the heads of IP, 0 if there is none. Global, so that what comes
 * after it is verified once. */
__noinline int skip_ip(struct __sk_buff *skb)
{
	u32 at = 40;
	u8 next, option[2];

	if (bpf_skb_load_bytes(skb, 0, &next, 1))
		return 0;
	if (next >> 4 == 4)
		return (next & 15) * 4;
	if (bpf_skb_load_bytes(skb, 6, &next, 1))
		return 0;
	/* Hop-by-hop and destination options, and routing (RFC 8200, 4). */
	for (u32 i = 0; i < 4 && (next == 0 || next == 43 || next == 60); i++) {
		if (bpf_skb_load_bytes(skb, at, option, 2))
			return 0;
		next = option[0];
		at += (option[1] + 1) * 8;
	}
	return at;
}

#define MAX_OFFSET 4096 /* of what is behind the heads */

/* Judges the packet from an offset on; what came before is in w->s. */
static __always_inline void judge_from(struct __sk_buff *skb, struct work *w, u32 from, u32 urgent)
{
	w->stop = 0;
	w->from = from;
	w->left = skb->len - from;
	w->urgent = urgent;
	count(PACKETS_CHECKED);
	judge_packet(skb, w);
}

static __always_inline int judge_question(struct __sk_buff *skb, u32 at, struct work *w)
{
	u64 began_ns = bpf_ktime_get_ns();
	struct suspect *x;

	__builtin_memset(&w->s, 0, sizeof(w->s));
	query_begin(&w->s, false);
	judge_from(skb, w, at, 0);
	if (!w->stop)
		return 1;
	x = new_suspect(w->area, began_ns);
	if (!x)
		return 1;
	x->protocol = IPPROTO_UDP;
	x->somebody = true;
	x->reason = BECAUSE_NAME;
	x->finding = SAID_QUERY;
	x->listed = w->s.listed;
	x->act = act_of_name(x->listed);
	x->passed = is_passed(skb, 0);
	if (x->act == ACT_NOTHING) {
		if (x->passed || !asks_address(w->s.number) || !mark_current(x->listed))
			return 1;
		x->act = act_mark;
	}
	destination(&x->to, skb);
	x->to.port = PORT_DNS;
	return finish(w->area);
}

static __always_inline int judge_udp(struct __sk_buff *skb)
{
	u8 udp[4];
	u32 at = skip_ip(skb);
	struct work *w;
	int passes;

	if (!at || at > MAX_OFFSET || bpf_skb_load_bytes(skb, at, udp, 4))
		return 1;
	if (number16(udp + 2) != PORT_DNS || skb->len <= at + 8)
		return 1;
	w = this_work(take_area());
	if (!w) {
		count(DISTURBED);
		return 1; /* else who keeps all areas, by tasks that are throttled there, stops the DNS of all */
	}
	passes = judge_question(skb, at + 8, w);
	leave_area(w);
	return passes;
}

/* A raw socket has no connect that tells where it sends to. Global, for its own part of the stack. */
__noinline int judge_raw(struct __sk_buff *skb, u32 protocol)
{
	u64 began_ns = bpf_ktime_get_ns();
	struct address to = {};
	u8 ports[4];
	u32 at = skip_ip(skb), rule;

	if (!at || at > MAX_OFFSET)
		return 1;
	destination(&to, skb);
	if ((protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && !bpf_skb_load_bytes(skb, at, ports, 4))
		to.port = number16(ports + 2);
	rule = banned(&to);
	if (!rule)
		return 1;
	return finish_address(&to, rule, began_ns, 0, protocol, is_passed(skb, 0));
}

static __always_inline bool may_begin(u8 c)
{
	return is_space(c) || begins_json(c) || c == 'P' || c == 'C' || c == 4 || c == 5 || c == HANDSHAKE;
}

/* Tells who sends: a process that holds the socket, or nobody in particular, as for what is
 * sent again or was kept back. */
static __always_inline void find_sender(struct suspect *x, struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct sock *its = (void *)bpf_skc_to_tcp_sock(sk);

	x->cgroup = bpf_skb_cgroup_id(skb);
	if (!its)
		return;
	x->somebody = BPF_CORE_READ(its, sk_lock.owned);
	x->inode = BPF_CORE_READ(its, sk_socket, file, f_inode, i_ino);
	x->passed = is_passed(skb, its);
}

/* A packet of a stream that is followed, or may begin. */
struct segment {
	u64 began_ns; /* the judgement */
	u32 data;     /* offset of what is judged */
	u32 next;     /* position after it */
	u32 urgent;
	u16 port;      /* that it goes to */
	bool question; /* by DNS, and the first */
};

/* The suspect of an area, who has sent a packet. */
static __always_inline struct suspect *suspect_sender(u32 area, struct __sk_buff *skb, struct bpf_sock *sk,
						      struct segment *g)
{
	struct suspect *x = new_suspect(area, g->began_ns);

	if (!x)
		return 0;
	x->cookie = bpf_get_socket_cookie(skb);
	x->protocol = sk->protocol;
	destination(&x->to, skb);
	x->to.port = g->port;
	find_sender(x, skb, sk);
	return x;
}

/* What is sent again of a refused stream. */
static __always_inline void tell_again(struct kept *k, struct __sk_buff *skb, struct bpf_sock *sk, struct segment *g,
				       struct work *w)
{
	struct suspect *x = suspect_sender(w->area, skb, sk, g);

	if (!x)
		return;
	x->act = k->untold_act;
	x->reason = k->reason;
	x->finding = k->finding;
	x->listed = k->listed;
	x->again = true;
	finish(w->area);
	if (x->told)
		k->untold_act = 0;
}

static __always_inline int refuse_again(struct kept *k, struct __sk_buff *skb, struct bpf_sock *sk, struct segment *g)
{
	struct work *w;

	count(DROPPED);
	if (!k->untold_act)
		return 0;
	w = this_work(take_area());
	if (!w) {
		count(DISTURBED);
		return 0;
	}
	tell_again(k, skb, sk, g, w);
	leave_area(w);
	return 0;
}

/* Judges what is said. */
static __always_inline int judge_said(struct __sk_buff *skb, struct bpf_sock *sk, struct kept *k, struct segment *g,
				      struct work *w)
{
	u32 before, stop, fresh, act;
	struct suspect *x;
	bool done;
	int passes;

	if (k) {
		__builtin_memcpy(&w->s, &k->s, sizeof(w->s));
	} else {
		__builtin_memset(&w->s, 0, sizeof(w->s));
		if (g->question)
			query_begin(&w->s, true);
	}
	before = w->s.found;
	judge_from(skb, w, g->data, g->urgent);
	stop = w->stop;
	fresh = w->s.found & ~before;
	done = w->s.kind == DONE;
	if (!stop && !done && (g->next > WINDOW || w->left)) {
		done = true;
		count(STREAMS_TRUNCATED);
	}
	if (!stop && done) {
		if (k)
			bpf_sk_storage_delete(&streams, sk);
		k = 0; /* made again below for a refusal */
	} else {
		if (!k) {
			count(STREAMS_FOLLOWED);
			k = bpf_sk_storage_get(&streams, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
		}
		if (k) {
			__builtin_memcpy(&k->s, &w->s, sizeof(w->s));
			k->next = g->next;
		} else {
			count(STREAMS_UNKEPT);
			if (!stop)
				return 0;
		}
	}
	if (!stop && !fresh)
		return 1;
	x = suspect_sender(w->area, skb, sk, g);
	if (!x)
		return 1;
	weigh_findings(w->area, fresh);
	if (stop & SAID_QUERY && x->act == ACT_NOTHING) {
		if (!x->somebody || x->passed || !asks_address(w->s.number) || !mark_current(x->listed))
			return 1;
		x->act = act_mark;
	}
	act = x->act;
	passes = finish(w->area);
	if (passes || act <= ACT_OBSERVE) {
		if (stop && act >= ACT_OBSERVE) /* whatever else it says */
			bpf_sk_storage_delete(&streams, sk);
		return 1;
	}
	count(DROPPED);
	if (!k)
		k = bpf_sk_storage_get(&streams, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!k) /* it is judged, and refused, whenever it is sent again */
		return 0;
	k->refused = 1;
	k->untold_act = x->told ? 0 : x->act;
	k->reason = x->reason;
	k->finding = x->finding;
	k->listed = x->listed;
	return 0;
}

static __always_inline int judge_first(struct __sk_buff *skb, struct bpf_sock *sk, struct bpf_tcp_sock *tp,
				       struct kept *k)
{
	struct segment g = {.began_ns = bpf_ktime_get_ns()};
	u64 cookie;
	struct work *w;
	u32 at, position;
	u8 tcp[20], first = 0;
	int passes;

	at = skip_ip(skb);
	if (!at || at > MAX_OFFSET || bpf_skb_load_bytes(skb, at, tcp, 20))
		return 1;
	g.data = at + (tcp[12] >> 4) * 4;
	if (k && tcp[13] & 2)
		k->connects = 1;
	if (skb->len <= g.data)
		return 1;
	/* Where in the stream it is: the SYN counts, but not that of one who accepted. */
	position = (u32)tp->bytes_acked + (((u32)number16(tcp + 4) << 16 | number16(tcp + 6)) - tp->snd_una);
	if (tcp[13] & 2)
		position++; /* with its SYN */
	g.next = position + skb->len - g.data;
	if (k && k->connects && position == 1 && !k->refused) {
		/* The socket has connected again, as connect(2) with AF_UNSPEC allows: another stream begins. Or
		 * TCP Fast Open begins again. */
		bpf_sk_storage_delete(&streams, sk);
		k = 0;
	}
	if (!k && position != 1)
		return 1;
	g.port = number16(tcp + 2);
	if (k && k->refused) {
		cookie = bpf_get_socket_cookie(skb);
		if (!bpf_map_lookup_elem(&pardoned, &cookie))
			return refuse_again(k, skb, sk, &g);
		bpf_sk_storage_delete(&streams, sk);
		return 1;
	}
	if (k && g.next <= k->next)
		return 1; /* sent again */
	if (k && position > k->next) {
		count(DROPPED); /* what is before it was dropped too, and is sent again first */
		return 0;
	}
	if (position > WINDOW) {
		count(STREAMS_TRUNCATED);
		bpf_sk_storage_delete(&streams, sk);
		return 1;
	}
	if (k) {
		g.data += k->next - position;
	} else if (bpf_skb_load_bytes(skb, g.data, &first, 1)) {
		return 1;
	}
	/* A question is shorter than 1 KiB: the first byte of its length tells it from the others. */
	g.question = !k && first < 4 && g.port == PORT_DNS;
	if (!k && !g.question && !may_begin(first))
		return 1;
	if (tcp[13] & 32)
		g.urgent = at + (tcp[12] >> 4) * 4 + number16(tcp + 18) - 1;
	w = this_work(take_area());
	if (!w) {
		count(DISTURBED);
		return 0; /* it is sent again, and judged then */
	}
	passes = judge_said(skb, sk, k, &g, w);
	leave_area(w);
	return passes;
}

/* Whether a connection is past its first bytes and not kept: nothing that it sends is judged. What
 * is refused, or still followed, has not come as far as WINDOW. This is all that most packets
 * cost. */
static __always_inline bool is_past(struct bpf_sock *common)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(common);
	struct sock *sk = (void *)tcp;

	/* On older kernels a raw socket for TCP passes for one of TCP. */
	if (!tcp || sk->sk_type != SOCK_STREAM)
		return false;
	return tcp->bytes_acked > WINDOW || (tcp->bytes_acked > 1 && !sk->sk_bpf_storage);
}

static __always_inline int judge_tcp(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);
	struct kept *k;

	if (!tp || tp->bytes_acked > WINDOW)
		return 1;
	k = bpf_sk_storage_get(&streams, sk, 0, 0);
	if (!k && tp->bytes_acked > 1)
		return 1;
	return judge_first(skb, sk, tp, k);
}
