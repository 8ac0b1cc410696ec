/* SPDX-License-Identifier: Apache-2.0 */
/* Members of JSON objects. */
#ifndef TINYVMM_JSON_PUT_H
#define TINYVMM_JSON_PUT_H

#include <json.h>
#include <stdint.h>

static inline void put(struct json_object *to, const char *key, uint64_t value)
{
	json_object_object_add(to, key, json_object_new_uint64(value));
}

static inline void put_text(struct json_object *to, const char *key, const char *value)
{
	json_object_object_add(to, key, json_object_new_string(value));
}

#endif
