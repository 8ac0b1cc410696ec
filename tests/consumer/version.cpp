// SPDX-License-Identifier: Apache-2.0
// The library from C++: all headers at once, linked by C names, and the version that they promise.
#include <cstdio>
#include <cstring>
#include <vdb/guest.h>
#include <vdb/vdb.h>

int main()
{
	char promised[32];

	std::snprintf(promised, sizeof(promised), "%d.%d.%d", VDB_VERSION_MAJOR, VDB_VERSION_MINOR,
	              VDB_VERSION_PATCH);
	std::puts(vdb_version());
	return std::strcmp(vdb_version(), promised) != 0;
}
