/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long tasks waited for a CPU while they were runnable, and for a disk, by control group. A pass over all tasks credits
 * what each waited since the last one, the exit of a thread the rest: a thread that lives a millisecond is counted too.
 * sched_info.run_delay is in kernel/sched/stats.h; delays->blkio_delay in kernel/delayacct.c, where it is 0 of a task that
 * was started while kernel.task_delayacct was 0.
 */
#include "spent.h"

/* What was credited of a thread. */
struct credited {
	u64 cpu;
	u64 disk;
};

struct {
	int (*type)[BPF_MAP_TYPE_TASK_STORAGE];
	int (*map_flags)[BPF_F_NO_PREALLOC];
	int *key;
	struct credited *value;
} threads SEC(".maps");

/* Of the clock of task->start_time: what was waited before belongs to nobody here. 0 until the first pass. */
INLINE u64 begun(void)
{
	u64 *begun = number(DELAYS_BEGUN);
	return begun ? *begun : 0;
}

INLINE u64 disk_of(const struct task_struct *task)
{
	return exists(task->delays) ? task->delays->blkio_delay : 0;
}

/* Atomic: a thread may exit on another CPU while the pass looks at it. */
INLINE void credit(struct credited *credited, u64 group, u64 cpu, u64 disk)
{
	struct spent *spent = spent_of(group);
	if (!spent)
		return;
	if (credited) {
		cpu -= swap(&credited->cpu, cpu);
		disk -= swap(&credited->disk, disk);
	}
	if (cpu)
		add(&spent->cpu, cpu);
	if (disk)
		add(&spent->disk, disk);
}

SEC("iter/task")
int task_delays(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct credited *credited;
	u64 since = begun(), group;
	/* The exit credits what is left. */
	if (!task || task->flags & PF_EXITING)
		return 0;
	credited = task_storage(&threads, task, 0, 0);
	/* Most threads of a machine have not waited since the last pass. */
	if (credited && credited->cpu == task->sched_info.run_delay && credited->disk == disk_of(task))
		return 0;
	group = group_for(task, OF_ITERATORS);
	if (!group || !since)
		return 0;
	if (!credited) {
		credited = task_storage(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!credited)
			return 0;
		if (task->start_time < since) {
			credited->cpu = task->sched_info.run_delay;
			credited->disk = disk_of(task);
			return 0;
		}
	}
	credit(credited, group, task->sched_info.run_delay, disk_of(task));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int exit_delays(u64 *context)
{
	struct task_struct *task = (struct task_struct *)context[0];
	struct credited *credited;
	u64 since = begun(), group;
	if (!since)
		return 0;
	credited = task_storage(&threads, task, 0, 0);
	if (!credited && task->start_time < since)
		return 0;
	group = group_for(task, OF_TRACEPOINTS);
	if (group)
		credit(credited, group, task->sched_info.run_delay, disk_of(task));
	return 0;
}
