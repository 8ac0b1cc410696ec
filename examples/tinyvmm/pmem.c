/* SPDX-License-Identifier: Apache-2.0 */
#include "pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/pmem.h>

#include "devices.h"
#include "keys.h"
#include "layout.h"
#include "run.h"
#include "tinyvmm.h"
#include "values.h"

/* ---- What the user wants ---- */

static int on_off(const char *what, const char *text, bool *value)
{
	static const struct choice choices[] = {{"on", true}, {"off", false}, {0}};
	uint32_t chosen = true;

	if (text && value_choice(what, text, choices, &chosen))
		return -1;
	*value = chosen;
	return 0;
}

static int take(void *to, const char *name, const char *value)
{
	struct pmem *pmem = to;

	if (!strcmp(name, "readonly"))
		return on_off("--pmem readonly", value, &pmem->readonly);
	if (!strcmp(name, "private"))
		return on_off("--pmem private", value, &pmem->private);
	if (strcmp(name, "path") != 0)
		return complain("--pmem: no key `%s`; see `tinyvmm run --help`", name);
	if (!value || !*value || strlen(value) >= sizeof(pmem->path))
		return complain("--pmem path: needs a value, of less than %zu characters",
		                sizeof(pmem->path));
	memcpy(pmem->path, value, strlen(value) + 1);
	return 0;
}

int pmem_parse(struct pmem *pmem, const char *text, uint32_t number)
{
	*pmem = (struct pmem){.fd = -1};
	snprintf(pmem->name, sizeof(pmem->name), "pmem%u", number);
	if (keys_parse("--pmem", text, take, pmem))
		return -1;
	if (!*pmem->path)
		return complain("--pmem %s: say path=FILE", text);
	if (pmem->readonly && pmem->private)
		return complain("--pmem %s: readonly or private, not both", text);
	return 0;
}

/* ---- The file ---- */

/* Exclusive if the guest may write to it. */
static int lock(const struct pmem *pmem)
{
	struct flock whole = {.l_type = pmem->readonly || pmem->private ? F_RDLCK : F_WRLCK};

	if (!fcntl(pmem->fd, F_OFD_SETLK, &whole))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return complain("%s: %s: somebody else has it", pmem->name, pmem->path);
	return complain("%s: %s: lock: %s", pmem->name, pmem->path, strerror(errno));
}

static int measure(struct pmem *pmem)
{
	struct stat st;

	if (fstat(pmem->fd, &st))
		return complain("%s: %s: %s", pmem->name, pmem->path, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size || st.st_size % (off_t)VDB_PMEM_ALIGN)
		return complain("%s: %s: must be a file of a multiple of 2 MiB (truncate -s %%2M)",
		                pmem->name, pmem->path);
	if ((uint64_t)st.st_size > LAYOUT_PMEM_STRIDE)
		return complain("%s: %s: at most %llu GiB", pmem->name, pmem->path, LAYOUT_PMEM_STRIDE >> 30);
	pmem->bytes = (uint64_t)st.st_size;
	return 0;
}

int pmem_open(struct pmem *pmem)
{
	pmem->fd = open(pmem->path, (pmem->readonly || pmem->private ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (pmem->fd < 0)
		return complain("%s: %s: %s", pmem->name, pmem->path, strerror(errno));
	return measure(pmem) || lock(pmem) ? -1 : 0;
}

/* An io_uring that knew the file may let go of it a while after this process has ended: the lock goes now. */
void pmem_close(struct pmem *pmem)
{
	struct flock whole = {.l_type = F_UNLCK};

	if (pmem->fd >= 0) {
		(void)fcntl(pmem->fd, F_OFD_SETLK, &whole);
		close(pmem->fd);
	}
	pmem->fd = -1;
}

/* ---- The device ---- */

uint32_t pmem_count(const struct run_options *options)
{
	return options->pmem_count;
}

int pmem_create(struct run *run, struct device *device, uint32_t index)
{
	const struct pmem *pmem = &run->options.pmems[index];
	const struct vdb_region_config region = {
	        .size = sizeof(region),
	        .flags =
	                (pmem->readonly ? VDB_REGION_READONLY : 0) | (pmem->private ? VDB_REGION_PRIVATE : 0),
	        .gpa = LAYOUT_PMEM + index * LAYOUT_PMEM_STRIDE,
	        .len = pmem->bytes,
	        .backing = VDB_MEM_FD,
	        .fd = pmem->fd,
	};
	const struct vdb_virtio_config at = devices_on_first(run, device);
	const struct vdb_pmem_config config = {.size = sizeof(config), .at = &at, .gpa = region.gpa};
	int err = vdb_mem_add(run->mem, &region);

	device->name = pmem->name;
	return err ? err : vdb_pmem_create(&config, &device->virtio);
}
