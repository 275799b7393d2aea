/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a control group spent besides connections: time waited, and processes that were killed. */
#pragma once
#include "group.h"

struct spent {
	/* Nanoseconds. */
	u64 cpu;
	u64 disk;
	u64 oom_kills;
};

MAP(spent_by_group, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, u64, struct spent);

static __attribute__((noinline)) struct spent *spent_of(u64 group)
{
	static const struct spent nothing = {};
	struct spent *spent = map_lookup(&spent_by_group, &group);
	if (spent)
		return spent;
	if (map_update(&spent_by_group, &group, &nothing, BPF_NOEXIST))
		count(NO_ROOM_FOR_GROUP);
	return map_lookup(&spent_by_group, &group);
}
