/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects. */
#ifndef TINYVMM_JSON_PUT_H
#define TINYVMM_JSON_PUT_H

#include <json.h>
#include <stdint.h>
#include <unistd.h>
#include <vdb/loop.h>

static inline void put(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_uint64(value));
}

static inline void put_text(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

/* What is in use of io_uring, and how much. */
static inline void put_uring(struct json_object *to, const struct vdb_loop_stats *stats)
{
	static const struct {
		uint64_t feature;
		const char *name;
	} names[] = {
	        {VDB_LOOP_HAS_RING_FD, "ring_fd"},
	        {VDB_LOOP_HAS_SQPOLL, "sqpoll"},
	        {VDB_LOOP_HAS_FILES, "files"},
	        {VDB_LOOP_HAS_MEMORY, "memory"},
	        {VDB_LOOP_HAS_IOPOLL, "iopoll"},
	        {VDB_LOOP_HAS_SIGNALS, "signals"},
	        {VDB_LOOP_HAS_RESTRICTIONS, "restricted"},
	        {VDB_LOOP_HAS_IO_CPUS, "io_cpus"},
	};
	struct json_object *features = json_object_new_array();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (stats->features & names[i].feature)
			json_object_array_add(features, json_object_new_string(names[i].name));
	json_object_object_add(to, "features", features);
	put(to, "fixed_files", stats->fixed_files);
	put(to, "fixed_buffers", stats->fixed_buffers);
	put(to, "memory_registered", stats->memory);
	put(to, "memory_refused", stats->memory_refused);
	put(to, "polled", stats->polled);
	put(to, "signals", stats->signals);
}

/* In the place of what it has; a pipe has nothing. */
static inline int put_file(int fd, struct json_object *object)
{
	(void)!ftruncate(fd, 0);
	(void)lseek(fd, 0, SEEK_SET);
	return json_object_to_fd(fd, object, JSON_C_TO_STRING_PRETTY);
}

#endif
