/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Control groups: which one a task is in, and its path. A group is known by the id of its directory and the number of its
 * hierarchy; the path is written down once, when the group is first seen, so that it is known also where the directory
 * is gone before anybody looks.
 */
#pragma once
#include "cgroup.h"

/* Names from the group itself upwards; of what is deeper the outermost are missing. */
enum { LEVELS = 15, NAME = 128 };

struct group {
	/* Destinations in the map, about. */
	u32 used;
	/* 1: nothing of it is counted; written by the agent. */
	u32 ignored;
	u32 levels;
	u32 reserved;
	char names[LEVELS][NAME];
};

/* Numbers of the whole, by their place in the map `numbers`. */
enum {
	DESTINATIONS_USED,
	CONNECTIONS_FOLLOWED,
	EVENTS_LOST,
	NO_ROOM_FOR_DESTINATION,
	NO_ROOM_FOR_CONNECTION,
	NO_ROOM_FOR_GROUP,
	NO_ROOM_FOR_LISTENER,
	DELAYS_BEGUN,
	NUMBERS,
};

/*
 * What is reported to the agent at once: a new group, a connection whose translation is to be asked for, and the end of
 * one that it has not answered for; that one the agent counts, from its opening on.
 */
enum { NEW_GROUP = 1, QUESTION = 2, ENDED = 3 };

struct address {
	u64 half[2];
};

struct event {
	u32 kind;
	/* Whether the end was a reset. */
	u32 reset;
	u64 group;
	/* The socket, and when it connected: together they are never the same again. */
	u64 socket;
	u64 started;
	struct address local;
	struct address asked;
	u16 local_port;
	u16 asked_port;
	/* Without SYNs. */
	u32 retransmits;
	u64 handshake;
	u64 sent;
	u64 received;
	u32 rtt;
	/* As in struct connection. */
	u16 before;
	u16 syn_retransmits;
};

MAP(groups, BPF_MAP_TYPE_HASH, 4096, FLAGS_BY_KERNEL, u64, struct group);
/*
 * Who may interrupt each other on a CPU have a place each. Tracepoints are not preempted; programs at functions are, by another task
 * and by each other, but the kernel runs none again on a CPU where it has not ended. Those have the last places, which are there only
 * where connections that fail at once are counted.
 */
enum { OF_STATES, OF_ITERATORS, OF_TRACEPOINTS, OF_EXIT_CONNECT, OF_DENY_CONNECT, SCRATCHES };
MAP(scratch, BPF_MAP_TYPE_PERCPU_ARRAY, SCRATCHES, 0, u32, struct group);
MAP(numbers, BPF_MAP_TYPE_ARRAY, NUMBERS, 0, u32, u64);

struct {
	int (*type)[BPF_MAP_TYPE_RINGBUF];
	int (*max_entries)[262144];
} ring SEC(".maps");

INLINE u64 *number(u32 which)
{
	return map_lookup(&numbers, &which);
}

INLINE void count(u32 which)
{
	u64 *value = number(which);
	if (value)
		add(value, 1);
}

INLINE int tell(struct event *event)
{
	if (!ring_output(&ring, event, sizeof *event, 0))
		return 1;
	count(EVENTS_LOST);
	return 0;
}

INLINE struct kernfs_node *parent_of(struct kernfs_node *node)
{
	if (exists(node->parent))
		return node->parent;
	return ((struct kernfs_node___new *)node)->__parent;
}
