/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kind of code of an interrupted instruction: a file, or code that the process wrote at
 * run time.
 *
 * The mapping is looked up when the sample is taken, so the number of mappings and their
 * paths do not matter. The program runs under the lock of the run queue, and a process may
 * hold its own mmap lock for any time. So no lock is taken, not even with a trylock
 * (bpf_find_vma), which the process could make fail. The tree may change meanwhile: each
 * step may read freed memory, so the number of steps is bounded and the mapping that is
 * found is checked. A concurrent change can only lead to UNKNOWN_CODE.
 */
#pragma once

#include "kernel.h"

/* Decoded in sample.go. */
enum code {
	UNKNOWN_CODE, /* no mapping was found */
	FILE_CODE,    /* of a file, with file and changed_ns; or of the vdso */
	JIT_CODE,     /* memory that the process wrote itself */
};

const enum code *unused_code __attribute__((unused));

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* include/linux/maple_tree.h */
struct maple_metadata {
	u8 end; /* index of the last slot in use */
};

struct maple_range_64 {
	unsigned long pivot[15];
	void *slot[16];
	struct maple_metadata meta;
};

struct maple_arange_64 {
	unsigned long pivot[9];
	void *slot[10];
	struct maple_metadata meta;
};

struct maple_tree {
	void *ma_root;
};

struct mm_struct___maple { /* since 6.1 (d4af56c5c7c6) */
	struct maple_tree mm_mt;
};

struct rb_node {
	struct rb_node *rb_right;
	struct rb_node *rb_left;
};

struct rb_root {
	struct rb_node *rb_node;
};

struct mm_struct___rb {
	struct rb_root mm_rb;
};

struct anon_vma;
struct vm_operations_struct;

struct vm_area_struct {
	unsigned long vm_start;
	unsigned long vm_end;
	struct mm_struct *vm_mm;
	struct anon_vma *anon_vma;
	const struct vm_operations_struct *vm_ops;
	struct file *vm_file;
};

struct vm_area_struct___rb {
	struct rb_node vm_rb;
};

struct inode___6_6 { /* 13bc24457850 */
	struct timespec64 __i_ctime;
};

struct inode___6_11 { /* 3aa63a569c64 */
	s64 i_ctime_sec;
	u32 i_ctime_nsec;
};

#pragma clang attribute pop

#define RB_DEPTH 40 /* 32 for 65,530 mappings */

static __noinline u64 find_in_rb_tree(struct mm_struct *mm, u64 ip)
{
	struct rb_node *node = BPF_CORE_READ((struct mm_struct___rb *)mm, mm_rb.rb_node);

	for (u32 i = 0; i < RB_DEPTH && node; i++) {
		struct vm_area_struct *vma = (void *)node - bpf_core_field_offset(struct vm_area_struct___rb, vm_rb);

		if (ip < BPF_CORE_READ(vma, vm_start))
			node = BPF_CORE_READ(node, rb_left);
		else if (ip >= BPF_CORE_READ(vma, vm_end))
			node = BPF_CORE_READ(node, rb_right);
		else
			return (u64)vma;
	}
	return 0;
}

#define MAPLE_DEPTH 8 /* about 5 for 65,530 mappings */
#define MAPLE_NODE_MASK 255UL
#define MAPLE_ARANGE_64 3
#define MAPLE_RANGE_64 2
#define MAPLE_LEAF_64 1

static __always_inline u64 read_u64(u64 at)
{
	u64 value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), (void *)at);
	return value;
}

/* Returns the slot of a node that covers ip, 0 for none: mtree_range_walk and ma_data_end in
 * lib/maple_tree.c. */
static __noinline u64 maple_slot(u64 entry, u64 ip)
{
	u64 node = entry & ~MAPLE_NODE_MASK;
	u64 pivots, slots, meta;
	u32 type = entry >> 3 & 15;
	u32 end, i, last;
	u8 used = 0;

	if (type == MAPLE_ARANGE_64) {
		pivots = node + bpf_core_field_offset(struct maple_arange_64, pivot);
		slots = node + bpf_core_field_offset(struct maple_arange_64, slot);
		meta = node + bpf_core_field_offset(struct maple_arange_64, meta);
		last = 9;
	} else if (type == MAPLE_RANGE_64 || type == MAPLE_LEAF_64) {
		pivots = node + bpf_core_field_offset(struct maple_range_64, pivot);
		slots = node + bpf_core_field_offset(struct maple_range_64, slot);
		meta = node + bpf_core_field_offset(struct maple_range_64, meta);
		last = 15;
	} else {
		return 0;
	}
	end = last;
	if (type == MAPLE_ARANGE_64 || !read_u64(pivots + (last - 1) * 8)) {
		bpf_probe_read_kernel(&used, sizeof(used), (void *)meta);
		end = used;
	}
	for (i = 0; i < 15 && i < end && i < last; i++)
		if (read_u64(pivots + i * 8) >= ip)
			break;
	return read_u64(slots + i * 8);
}

static __noinline u64 find_in_maple_tree(struct mm_struct *mm, u64 ip)
{
	u64 entry = (u64)BPF_CORE_READ((struct mm_struct___maple *)mm, mm_mt.ma_root);

	if ((entry & 3) != 2) /* xa_is_node; false for a tree of at most one mapping */
		return 0;
	for (u32 i = 0; i < MAPLE_DEPTH && entry; i++) {
		u32 type = entry >> 3 & 15;

		entry = maple_slot(entry, ip);
		if (type <= MAPLE_LEAF_64)
			return entry;
	}
	return 0;
}

static __always_inline struct vm_area_struct *find_mapping(struct mm_struct *mm, u64 ip)
{
	struct vm_area_struct *vma;

	if (bpf_core_field_exists(struct mm_struct___maple, mm_mt))
		vma = (struct vm_area_struct *)find_in_maple_tree(mm, ip);
	else
		vma = (struct vm_area_struct *)find_in_rb_tree(mm, ip);
	if (!vma || BPF_CORE_READ(vma, vm_mm) != mm || ip < BPF_CORE_READ(vma, vm_start) ||
	    ip >= BPF_CORE_READ(vma, vm_end))
		return NULL;
	return vma;
}

/* The ctime of a file, which user space cannot set. */
static __always_inline u64 change_time(struct inode *inode)
{
	if (bpf_core_field_exists(struct inode, i_ctime))
		return BPF_CORE_READ(inode, i_ctime.tv_sec) * 1000000000ULL + BPF_CORE_READ(inode, i_ctime.tv_nsec);
	if (bpf_core_field_exists(struct inode___6_6, __i_ctime)) {
		struct inode___6_6 *i = (struct inode___6_6 *)inode;

		return BPF_CORE_READ(i, __i_ctime.tv_sec) * 1000000000ULL + BPF_CORE_READ(i, __i_ctime.tv_nsec);
	}
	/* The top bit is the flag I_CTIME_QUERIED (4e40eff0b573). */
	return BPF_CORE_READ((struct inode___6_11 *)inode, i_ctime_sec) * 1000000000ULL +
	       (BPF_CORE_READ((struct inode___6_11 *)inode, i_ctime_nsec) & 0x7fffffff);
}

#define SB_KERNMOUNT (1 << 22) /* include/linux/fs.h */

/* include/uapi/linux/stat.h */
#define S_IFMT 0170000
#define S_IFREG 0100000

/* include/uapi/linux/magic.h */
#define TMPFS_MAGIC 0x01021994
#define RAMFS_MAGIC 0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6

/* Whether a file is in a memory file system and the process may have written it. There a
 * write to a mapping does not update the ctime. The file of its program does not count,
 * because it cannot be written while it is executed. */
static __always_inline bool is_writable_memory_file(struct task_struct *task, struct mm_struct *mm, struct inode *inode)
{
	u32 magic = BPF_CORE_READ(inode, i_sb, s_magic);
	u32 owner = BPF_CORE_READ(inode, i_uid.val);

	if (magic != TMPFS_MAGIC && magic != RAMFS_MAGIC && magic != HUGETLBFS_MAGIC)
		return false;
	if (BPF_CORE_READ(mm, exe_file, f_inode) == inode)
		return false;
	return owner || !BPF_CORE_READ(task, cred, uid.val) || BPF_CORE_READ(inode, i_mode) & 022;
}

/* Returns the kind of code at ip, and the file and its ctime for FILE_CODE. */
static __always_inline enum code find_code(struct task_struct *task, u64 ip, u64 *file, u64 *changed_ns)
{
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct vm_area_struct *vma;
	struct super_block *sb;
	struct inode *inode;

	vma = mm ? find_mapping(mm, ip) : NULL;
	if (!vma)
		return UNKNOWN_CODE;
	/* Private pages were written, of a file too: through a mapping that was writable,
	 * /proc/PID/mem or a debugger. */
	if (BPF_CORE_READ(vma, anon_vma))
		return JIT_CODE;
	if (!BPF_CORE_READ(vma, vm_file))
		return BPF_CORE_READ(vma, vm_ops) ? FILE_CODE : JIT_CODE; /* the vdso has vm_ops */
	inode = BPF_CORE_READ(vma, vm_file, f_inode);
	sb = BPF_CORE_READ(inode, i_sb);
	/* A device, a file that is open or mapped for writing, a memfd, or shared memory. */
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFREG || BPF_CORE_READ(inode, i_writecount.counter) > 0 ||
	    BPF_CORE_READ(sb, s_flags) & SB_KERNMOUNT || is_writable_memory_file(task, mm, inode))
		return JIT_CODE;
	*file = BPF_CORE_READ(inode, i_ino) ^ (u64)BPF_CORE_READ(sb, s_dev) << 40;
	*changed_ns = change_time(inode);
	return FILE_CODE;
}
