/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files below /var/log that tasks have open for writing, one record for each descriptor. The kernel's iterator passes by
 * threads that share the descriptors of their process. The path begins at the root of the mount namespace of whoever
 * opened the file, unless that is below the root of whoever reads: as the link /proc/PID/fd/N has it.
 */
#include "cgroup.h"

/* PATH_MAX */
enum { LONGEST = 4096 };

struct open_file {
	u64 group;
	u64 inode;
	u32 device;
	u32 pid;
	u32 descriptor;
	/* Bytes of the path, and the NUL byte after it; what is behind them is not written. */
	u32 length;
	char path[LONGEST];
};

MAP(scratch, BPF_MAP_TYPE_PERCPU_ARRAY, 1, 0, u32, struct open_file);

SEC("iter/task_file")
int open_files(struct bpf_iter__task_file *context)
{
	static const char logs[] = "/var/log/";
	struct task_struct *task = context->task;
	struct file *file = context->file;
	struct inode *inode;
	struct open_file *found;
	u32 first = 0;
	long length;
	if (!file || !task || !(file->f_mode & FMODE_WRITE))
		return 0;
	inode = file->f_inode;
	if ((inode->i_mode & S_IFMT) != S_IFREG)
		return 0;
	found = map_lookup(&scratch, &first);
	if (!found)
		return 0;
	length = path_of(&file->f_path, found->path, LONGEST);
	if (length <= (long)sizeof logs || length > LONGEST)
		return 0;
#pragma unroll
	for (u32 place = 0; place < sizeof logs - 1; place++)
		if (found->path[place] != logs[place])
			return 0;
	found->group = group_key(group_of(task));
	found->inode = inode->i_ino;
	found->device = inode->i_sb->s_dev;
	found->pid = task->tgid;
	found->descriptor = context->fd;
	found->length = length;
	seq_write(context->meta->seq, found, sizeof *found - LONGEST + (u32)length);
	return 0;
}

char licence[] SEC("license") = "Dual BSD/GPL";
