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

static __always_inline int judge_address(struct bpf_sock_addr *c, struct address *to, u64 began_ns)
{
	u32 rule;

	count(CONNECTS_CHECKED);
	to->port = __builtin_bswap16(c->user_port);
	rule = banned(to);
	if (!rule)
		return 1;
	return finish_address(to, rule, began_ns, bpf_get_socket_cookie(c), c->protocol, false);
}

static __always_inline int judge4(struct bpf_sock_addr *c)
{
	u64 began_ns = bpf_ktime_get_ns();
	struct address to = {.family = AF_INET, .word = {c->user_ip4}};

	return judge_address(c, &to, began_ns);
}

static __always_inline int judge6(struct bpf_sock_addr *c)
{
	u64 began_ns = bpf_ktime_get_ns();
	struct address to = {.family = AF_INET6};

	to.word[0] = c->user_ip6[0];
	to.word[1] = c->user_ip6[1];
	to.word[2] = c->user_ip6[2];
	to.word[3] = c->user_ip6[3];
	return judge_address(c, &to, began_ns);
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
	u32 passes;

	if (!sk || is_past(sk))
		return 1;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return 1;
	if (sk->type == SOCK_STREAM && (sk->protocol == IPPROTO_TCP || sk->protocol == IPPROTO_MPTCP))
		return judge_tcp(skb, sk);
	if (sk->type == SOCK_DGRAM && sk->protocol == IPPROTO_UDP)
		return has_names ? judge_udp(skb) : 1;
	passes = judge_raw(skb, sk->protocol);
	barrier_var(passes);
	return passes & 1;
}

char _license[] SEC("license") = "GPL";
