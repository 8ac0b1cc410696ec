/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/export.h"

/* Macros for the analyzer. */
#undef vdb__fail
#undef vdb__fail_sys

static _Thread_local char message[512];

int vdb__fail(int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	return -err;
}

int vdb__fail_sys(int err, const char *fmt, ...)
{
	va_list args;
	size_t used;
	char reason[128];

	va_start(args, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	used = strlen(message);
	(void)snprintf(message + used, sizeof(message) - used, ": %s",
	               strerror_r(err, reason, sizeof(reason)));
	return -err;
}

VDB_EXPORT const char *vdb_errmsg(void)
{
	return message;
}

#define TEXT(x) #x
#define VERSION_TEXT(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)

VDB_EXPORT const char *vdb_version(void)
{
	return VERSION_TEXT(VDB_VERSION_MAJOR, VDB_VERSION_MINOR, VDB_VERSION_PATCH);
}
