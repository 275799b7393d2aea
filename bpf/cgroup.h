/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which control group a task is in: the id of its directory, and the number of its hierarchy.
 */
#pragma once
#include "kernel.h"

/*
 * The group that says most. Engines and systemd put what they start into the v1 hierarchy of the memory controller
 * where there is one, and into v2; where v2 is mounted beside v1 with nothing in it, everybody is in its root.
 */
INLINE struct cgroup *group_of(struct task_struct *task)
{
	struct css_set *set = task->cgroups;
	struct cgroup *unified = set->dfl_cgrp;
	u64 number = __builtin_preserve_enum_value(*(enum cgroup_subsys_id *)memory_cgrp_id, 1);
	struct cgroup *memory = set->subsys[number]->cgroup;
	if (memory->root != unified->root && memory->level > 0)
		return memory;
	return unified;
}

INLINE u64 group_key(struct cgroup *group)
{
	return group->kn->id ^ (u64)group->root->hierarchy_id << 48;
}
