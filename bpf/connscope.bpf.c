/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the source `containers` counts: all of its programs in one object, since they share the map of control groups.
 */
#include "existing.bpf.c"
#include "delay.bpf.c"
#include "oom.bpf.c"
#include "connect.bpf.c"
