/* SPDX-License-Identifier: Apache-2.0 */
/* Which engine a test is for: those that say ENGINES in their head run once for each. */
#ifndef VDB_TESTS_ENGINE_H
#define VDB_TESTS_ENGINE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/loop.h>

static inline uint32_t test_engine(void)
{
	const char *name = getenv("VDB_TEST_ENGINE");

	if (name && !strcmp(name, "epoll"))
		return VDB_ENGINE_EPOLL;
	if (name && !strcmp(name, "uring"))
		return VDB_ENGINE_URING;
	return VDB_ENGINE_AUTO;
}

/* A config for it; two pool threads do the disk I/O of the epoll engine. */
static inline struct vdb_loop_config test_loop_config(void)
{
	return (struct vdb_loop_config){
	        .size = sizeof(struct vdb_loop_config),
	        .engine = test_engine(),
	        .pool_threads = -1,
	};
}

#endif
