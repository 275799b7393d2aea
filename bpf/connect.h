/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Calls of connect() that are in progress, where failures at once are counted. */
#pragma once
#include "group.h"

struct call {
	/* What it asks for. Where a system call has begun it is in the memory of the process, at `name`. */
	struct address address;
	u64 name;
	u32 netns;
	u16 port;
	u16 reserved;
};

/* By pid and tgid. Removed when the call ends; where that was missed, when the caller's next one begins. */
MAP(calls, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, u64, struct call);

/* Set by the agent before the programs are loaded. */
const volatile u32 immediate_failures;

/* The socket of a call has left CLOSE: what becomes of it is seen there. */
INLINE void has_left_close(void)
{
	u64 caller;
	if (!immediate_failures)
		return;
	caller = current_pid_tgid();
	map_delete(&calls, &caller);
}
