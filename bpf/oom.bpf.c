/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes that the kernel kills because memory ran out, by control group: mark_oom_victim in mm/oom_kill.c. It is called for
 * a thread, and again for other threads of the same process that want memory while they die.
 */
#include "spent.h"

struct process {
	u64 tgid;
	u64 start_time;
};

/* Those that were counted, so that none is twice. */
MAP(victims, BPF_MAP_TYPE_LRU_HASH, 256, 0, struct process, u32);
/* Threads that were named by their pid, until they exit. */
MAP(marked, BPF_MAP_TYPE_LRU_HASH, 256, 0, u32, u32);

static const u32 one = 1;

INLINE void killed(struct task_struct *task)
{
	struct process process = {.tgid = task->tgid, .start_time = task->group_leader->start_time};
	struct spent *spent;
	u64 group;
	if (map_update(&victims, &process, &one, BPF_NOEXIST))
		return;
	group = group_for(task, OF_TRACEPOINTS);
	if (!group)
		return;
	spent = spent_of(group);
	if (spent)
		add(&spent->oom_kills, 1);
}

SEC("tp_btf/mark_victim")
int mark_victim(u64 *context)
{
	killed((struct task_struct *)context[0]);
	return 0;
}

/* Before Linux 6.9, and what got that change later: a pid in the first namespace, whose task is found when it exits. */
SEC("tp_btf/mark_victim")
int mark_victim_before(u64 *context)
{
	u32 pid = context[0];
	map_update(&marked, &pid, &one, BPF_ANY);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int exit_victim(u64 *context)
{
	struct task_struct *task = (struct task_struct *)context[0];
	u32 pid = task->pid;
	if (!map_delete(&marked, &pid))
		killed(task);
	return 0;
}
