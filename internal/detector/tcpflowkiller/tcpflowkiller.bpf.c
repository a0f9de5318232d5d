//go:build ignore

// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs of a cgroup, the root of all: what their sockets connect to and what they say first.
 * They refuse in the kernel, before anything leaves, and kill where the kernel can.
 */
#include "kernel.h"
#include "net.bpf.h"
#include "finish.bpf.h"
#include "address.bpf.h"
#include "egress.bpf.h"
#include "sockets.bpf.h"
#include "scan.bpf.h"

static __always_inline int judge_address(struct bpf_sock_addr *c, struct suspect *x)
{
	count(CONNECTS_CHECKED);
	x->to.port = __builtin_bswap16(c->user_port);
	x->rule = banned(&x->to);
	if (!x->rule)
		return 1;
	x->protocol = c->protocol;
	x->somebody = true;
	x->reason = BECAUSE_ADDRESS;
	x->act = x->rule & RULE_OBSERVES ? ACT_OBSERVE : act_address;
	x->cookie = bpf_get_socket_cookie(c);
	return finish_alone(x);
}

static __always_inline int judge4(struct bpf_sock_addr *c)
{
	struct suspect x = {.began_ns = bpf_ktime_get_ns()};

	x.to.family = AF_INET;
	x.to.word[0] = c->user_ip4;
	return judge_address(c, &x);
}

static __always_inline int judge6(struct bpf_sock_addr *c)
{
	struct suspect x = {.began_ns = bpf_ktime_get_ns()};

	x.to.family = AF_INET6;
	x.to.word[0] = c->user_ip6[0];
	x.to.word[1] = c->user_ip6[1];
	x.to.word[2] = c->user_ip6[2];
	x.to.word[3] = c->user_ip6[3];
	return judge_address(c, &x);
}

SEC("cgroup/connect4")
int judge_connect4(struct bpf_sock_addr *c)
{
	return judge4(c);
}

SEC("cgroup/connect6")
int judge_connect6(struct bpf_sock_addr *c)
{
	return judge6(c);
}

SEC("cgroup/sendmsg4")
int judge_sendmsg4(struct bpf_sock_addr *c)
{
	return judge4(c);
}

SEC("cgroup/sendmsg6")
int judge_sendmsg6(struct bpf_sock_addr *c)
{
	return judge6(c);
}

SEC("cgroup_skb/egress")
int judge_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	if (!sk || is_past(sk))
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	if (sk->type == SOCK_STREAM && (sk->protocol == IPPROTO_TCP || sk->protocol == IPPROTO_MPTCP))
		return judge_tcp(skb, sk);
	if (sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP)
		return has_names ? judge_udp(skb) : 1;
	return judge_raw(skb, sk->protocol);
}

char _license[] SEC("license") = "GPL";
