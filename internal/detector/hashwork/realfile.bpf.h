/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file beneath overlayfs. Each container has its own overlayfs, with its own inodes, but the
 * file of an image beneath them is the same.
 *
 * An open file of overlayfs has the file beneath in private_data: a struct file up to 6.12
 * (ovl_open), and since 6.13 a struct ovl_file that begins with the pointer to one (18e48d0e2c7b).
 * Overlayfs is often a module, whose types are not in the BTF of the kernel, so a pointer is
 * recognised as a struct file by what holds for each regular file: its mapping is that of its
 * inode.
 */
#pragma once

#include "kernel.h"
#include "process.h"

#define OVERLAYFS_SUPER_MAGIC 0x794c7630 /* include/uapi/linux/magic.h */
#define OVERLAYS 2			 /* FILESYSTEM_MAX_STACK_DEPTH */

/* include/uapi/linux/stat.h */
#define S_IFMT 0170000
#define S_IFREG 0100000

struct address_space;

struct file___real {
	struct inode *f_inode;
	struct address_space *f_mapping;
	void *private_data;
} __attribute__((preserve_access_index));

struct inode___real {
	struct address_space *i_mapping;
	s64 i_size;
	struct timespec64 i_mtime; /* before 6.7 */
	struct timespec64 i_ctime; /* before 6.6 */
} __attribute__((preserve_access_index));

struct inode___6_7 {
	struct timespec64 __i_mtime; /* 6.7 to 6.10 (12cd44023651) */
	struct timespec64 __i_ctime; /* 6.6 to 6.10 (13bc24457850) */
} __attribute__((preserve_access_index));

struct inode___since_6_11 {
	s64 i_mtime_sec; /* 3aa63a569c64 */
	s64 i_ctime_sec;
	u32 i_mtime_nsec;
	u32 i_ctime_nsec; /* since 6.13 with I_CTIME_QUERIED (4e40eff0b573) */
} __attribute__((preserve_access_index));

#define I_CTIME_QUERIED (1U << 31)

struct user_namespace___real {
	s32 level; /* 0 for the initial one */
} __attribute__((preserve_access_index));

struct super_block___real {
	struct user_namespace___real *s_user_ns; /* of who has mounted it */
} __attribute__((preserve_access_index));

/* id, size and modified_ns identify the content of a file that is stored. Not the ctime: a new link
 * or another mode changes it. */
struct real_file {
	struct file_id id;
	u64 size;	     /* bytes */
	u64 modified_ns;     /* since 1970 */
	u64 changed_ns;	     /* ctime, since 1970 */
	u64 magic;	     /* of the file system */
	u64 overlay_of_user; /* an overlayfs above it was mounted in a user namespace */
};

#define TIME_OF(inode, name)                                                                                           \
	({                                                                                                             \
		u64 sec, nsec;                                                                                         \
                                                                                                                       \
		if (bpf_core_field_exists(struct inode___real, i_##name)) {                                            \
			sec = BPF_CORE_READ((struct inode___real *)inode, i_##name.tv_sec);                            \
			nsec = BPF_CORE_READ((struct inode___real *)inode, i_##name.tv_nsec);                          \
		} else if (bpf_core_field_exists(struct inode___6_7, __i_##name)) {                                    \
			sec = BPF_CORE_READ((struct inode___6_7 *)inode, __i_##name.tv_sec);                           \
			nsec = BPF_CORE_READ((struct inode___6_7 *)inode, __i_##name.tv_nsec);                         \
		} else {                                                                                               \
			sec = BPF_CORE_READ((struct inode___since_6_11 *)inode, i_##name##_sec);                       \
			nsec = BPF_CORE_READ((struct inode___since_6_11 *)inode, i_##name##_nsec) & ~I_CTIME_QUERIED;  \
		}                                                                                                      \
		sec * 1000000000ULL + nsec;                                                                            \
	})

static __always_inline bool is_regular_file(struct file___real *f)
{
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	struct address_space *mapping = BPF_CORE_READ(f, f_mapping);

	return mapping && mapping == BPF_CORE_READ((struct inode___real *)inode, i_mapping) &&
	       (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFREG;
}

/* Returns 0 if the file beneath is not found. */
static __always_inline struct file___real *file_beneath(struct file___real *f)
{
	struct file___real *below = BPF_CORE_READ(f, private_data);

	if (is_regular_file(below))
		return below;
	bpf_probe_read_kernel(&below, sizeof(below), below);
	return is_regular_file(below) ? below : 0;
}

/* Returns false if the file beneath overlayfs is not found. */
static __always_inline bool find_real(struct real_file *real, struct file *file)
{
	struct file___real *f = (struct file___real *)file;
	struct inode *inode = BPF_CORE_READ(f, f_inode);
	struct super_block___real *sb;

#pragma unroll
	for (int i = 0; i < OVERLAYS; i++) {
		if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
			break;
		sb = (struct super_block___real *)BPF_CORE_READ(inode, i_sb);
		if (BPF_CORE_READ(sb, s_user_ns, level))
			real->overlay_of_user = 1;
		f = file_beneath(f);
		inode = BPF_CORE_READ(f, f_inode);
	}
	real->magic = BPF_CORE_READ(inode, i_sb, s_magic);
	if (!inode || real->magic == OVERLAYFS_SUPER_MAGIC)
		return false;
	identify(&real->id, inode);
	real->size = BPF_CORE_READ((struct inode___real *)inode, i_size);
	real->modified_ns = TIME_OF(inode, mtime);
	real->changed_ns = TIME_OF(inode, ctime);
	return true;
}
