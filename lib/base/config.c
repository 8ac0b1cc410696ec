/* SPDX-License-Identifier: Apache-2.0 */
#include "base/config.h"

#include <string.h>

#include "base/error.h"

static uint32_t size_of(const void *sized)
{
	uint32_t size;

	memcpy(&size, sized, sizeof(size));
	return size;
}

int vdb__config_take(void *own, size_t own_size, const void *config, const char *what)
{
	uint32_t size, known = (uint32_t)own_size;
	const unsigned char *bytes = config;

	memset(own, 0, own_size);
	if (config) {
		size = size_of(config);
		if (size < 2 * sizeof(uint32_t))
			return vdb__fail(EINVAL, "%s: size is %u; set .size = sizeof(it)", what, size);
		for (uint32_t i = known; i < size; i++) {
			if (bytes[i])
				return vdb__fail(E2BIG,
				                 "%s: byte %u is set, this library knows %u; it is older "
				                 "than the program's headers",
				                 what, i, known);
		}
		memcpy(own, config, size < known ? size : known);
	}
	memcpy(own, &known, sizeof(known));
	return 0;
}

int vdb__stats_give(void *to, const void *own, size_t own_size, const char *what)
{
	uint32_t size = size_of(to);

	if (size < 2 * sizeof(uint32_t))
		return vdb__fail(EINVAL, "%s: size is %u; set .size = sizeof(it)", what, size);
	if (size > own_size)
		memset((char *)to + own_size, 0, size - own_size);
	memcpy((char *)to + sizeof(uint32_t), (const char *)own + sizeof(uint32_t),
	       (size < own_size ? size : own_size) - sizeof(uint32_t));
	return 0;
}
