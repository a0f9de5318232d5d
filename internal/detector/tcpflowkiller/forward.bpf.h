/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who passes on what others send: a process that listens for connections, has another connection by
 * which it has received something (what it was sent may have come by that one, as through a
 * tunnel), or is a DNS server. Its own files tell, when there is a verdict: so nothing has to be
 * noted when sockets are made, and servers that are older than the agent are known.
 */
#pragma once

#include "net.bpf.h"

#define FILES 16       /* that a global function looks at: the verifier follows each */
#define MAX_FILES 4096 /* of a process with more, the others are not known */

enum looking {
	FOR_DNS,       /* for a socket with port 53 */
	FOR_LISTENING, /* or one that listens */
	FOR_RECEIVED,  /* or another connection with something received */
};

static __always_inline struct sock *socket_of(struct file **files, u32 i)
{
	struct file___socket *f = 0;
	struct inode *inode;
	struct socket *its;

	bpf_probe_read_kernel(&f, sizeof(f), files + i);
	inode = f ? BPF_CORE_READ(f, f_inode) : 0;
	if (!inode || (BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFSOCK ||
	    BPF_CORE_READ(inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	its = BPF_CORE_READ(f, private_data);
	return BPF_CORE_READ(its, sk);
}

static __always_inline bool has_received(struct sock *sk)
{
	struct tcp_sock *tcp = (void *)sk;

	return BPF_CORE_READ(sk, sk_type) == SOCK_STREAM &&
	       BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol) == IPPROTO_TCP && BPF_CORE_READ(tcp, bytes_received);
}

static __always_inline bool is_of_server(struct sock *sk, u32 looking, bool judged)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family != AF_INET && family != AF_INET6)
		return false;
	if (BPF_CORE_READ(sk, __sk_common.skc_num) == PORT_DNS)
		return true;
	if (looking >= FOR_LISTENING && BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_LISTEN)
		return true;
	return looking == FOR_RECEIVED && !judged && has_received(sk);
}

/* Looks at n of the files from that address on, a number because global functions take no pointers before
 * 5.12. judged is the inode of the socket that is judged. */
__noinline int look_at_files(u64 files, u32 n, u32 looking, u64 judged)
{
	for (u32 i = 0; i < FILES && i < n; i++) {
		struct sock *sk = socket_of((void *)files, i);

		if (sk && is_of_server(sk, looking, BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino) == judged))
			return 1;
	}
	return 0;
}

__noinline int look(u32 looking, u64 judged)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	u64 files = (u64)BPF_CORE_READ(table, fd);
	u32 max = BPF_CORE_READ(table, max_fds);

	for (u32 i = 0; i < MAX_FILES && i < max; i += FILES)
		if (look_at_files(files + i * sizeof(struct file *), max - i, looking, judged))
			return 1;
	return max > MAX_FILES;
}

static __always_inline bool serves_dns(void)
{
	return look(FOR_DNS, 0);
}

/* Whether the current process is a server. */
static __always_inline bool serves(void)
{
	return look(FOR_LISTENING, 0);
}

/* Whether the current process passes on what others send. */
static __always_inline bool is_forwarder(u64 judged)
{
	return look(FOR_RECEIVED, judged);
}

/* Whether a socket was made by another user than the process has. */
static __always_inline bool is_of_another(struct sock *sk, struct task_struct *task)
{
	const struct cred___sockets *cred = (void *)BPF_CORE_READ(task, cred);
	u32 uid = BPF_CORE_READ(sk, sk_uid.val);

	return uid != BPF_CORE_READ(cred, fsuid.val) && uid != BPF_CORE_READ(cred, euid.val) &&
	       uid != BPF_CORE_READ(cred, uid.val);
}

/* Whether a socket was made by another user, or in another container, than the current process:
 * then it was passed, and what is sent need not come from that process. sk is 0 if only the
 * container is known. */
static __always_inline bool is_passed(struct __sk_buff *skb, struct sock *sk)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return bpf_skb_cgroup_id(skb) != BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id) ||
	       (sk && is_of_another(sk, task));
}
