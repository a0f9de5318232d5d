/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists the sockets of all processes: what was connected before the agent came, and whose a
 * socket is. */
#pragma once

#include "net.bpf.h"
#include "address.bpf.h"
#include "forward.bpf.h"

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
} __attribute__((preserve_access_index));

/* Decoded by sockets.go. */
struct listed_socket {
	u64 start_ns; /* of the process */
	u64 inode;
	u64 received; /* whether something has come */
	u32 pid;
	u16 state;
	u16 protocol;
	u16 family;
	u16 own_port;
	u32 passed; /* by another user or container than the process has */
	struct address peer;
	u32 pad2;
};

const struct listed_socket *unused_listed_socket __attribute__((unused));

/* Before 5.15 a word (8520e224f547). */
struct sock_cgroup_data___word {
	u64 val;
} __attribute__((preserve_access_index));

struct sock_cgroup_data___pointer {
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct sock___cgroup {
	struct sock_cgroup_data___pointer sk_cgrp_data;
} __attribute__((preserve_access_index));

/* As is_passed. */
static __always_inline bool was_passed(struct sock *sk, struct task_struct *task)
{
	void *data = __builtin_preserve_access_index(&((struct sock___cgroup *)sk)->sk_cgrp_data);
	struct sock_cgroup_data___pointer *pointer = data;
	struct sock_cgroup_data___word *word = data;
	struct cgroup *its = 0;

	if (bpf_core_field_exists(pointer->cgroup)) {
		its = BPF_CORE_READ(pointer, cgroup);
	} else {
		u64 val = BPF_CORE_READ(word, val);

		if (!(val & 1)) /* or it has classes of net_cls and net_prio */
			its = (void *)val;
	}
	return (its && BPF_CORE_READ(its, kn, id) != BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id)) ||
	       is_of_another(sk, task);
}

SEC("iter/task_file")
int list_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct file___socket *f = (void *)file;
	struct listed_socket l = {};
	struct socket *socket;
	struct inode *inode;
	struct sock *sk;

	if (!task || !file)
		return 0;
	inode = BPF_CORE_READ(f, f_inode);
	if (!inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK ||
	    BPF_CORE_READ(inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	socket = BPF_CORE_READ(f, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return 0;
	l.family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (l.family != AF_INET && l.family != AF_INET6)
		return 0;
	l.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	l.pid = BPF_CORE_READ(task, tgid);
	l.inode = BPF_CORE_READ(inode, i_ino);
	l.state = BPF_CORE_READ(sk, __sk_common.skc_state);
	l.protocol = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
	l.received = has_received(sk);
	l.passed = was_passed(sk, task);
	l.own_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	l.peer.port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	l.peer.family = l.family;
	if (l.family == AF_INET)
		l.peer.word[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	else
		BPF_CORE_READ_INTO(&l.peer.word, sk, __sk_common.skc_v6_daddr);
	unmap(&l.peer);
	bpf_seq_write(ctx->meta->seq, &l, sizeof(l));
	return 0;
}
