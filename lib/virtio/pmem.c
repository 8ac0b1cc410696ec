/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-pmem (5.19). What the guest reads and writes is a region of its memory, and none of our business; it
 * asks for one thing only, that what it has written be durable. That is a FLUSH of the file behind the
 * region, with all that the file backend knows of failed ones; where nothing outlives the VM, of a backend
 * that has nothing to do.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pmem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/pmem.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "mem/view.h"
#include "queue/chain.h"
#include "virtio/device.h"
#include "virtio/ready.h"

#define LL(x) ((unsigned long long)(x))
#define RESPONSE ((uint64_t)sizeof(struct virtio_pmem_resp))

struct pmem {
	struct vdb_backend *backend;
	struct virtio_pmem_config config; /* little-endian */
};

/* ---- A request: a type to be read, and a word to be written that is 0, or all ones ---- */

/* frame->word[]: the word may lie in two buffers. */
enum {
	FIRST,  /* address of its beginning, */
	LENGTH, /* so many bytes of it, */
	SECOND, /* address of the rest */
};

static bool find_response(const struct vdb__chain *chain, struct vdb__frame *frame)
{
	const struct vdb__seg *seg = &chain->segs[chain->nread];
	uint64_t first;

	if (!chain->nwrite)
		return false;
	first = seg->len < RESPONSE ? seg->len : RESPONSE;
	*frame = (struct vdb__frame){{seg->gpa, first, 0}};
	if (first == RESPONSE)
		return true;
	if (chain->nwrite < 2 || seg[1].len < RESPONSE - first)
		return false;
	frame->word[SECOND] = seg[1].gpa;
	return true;
}

static int parse_type(struct vdb__view *view, const struct vdb__chain *chain)
{
	struct virtio_pmem_req req;

	if (!vdb__segs_head(view, chain->segs, chain->nread, &req, sizeof(req)))
		return -EINVAL;
	return le32toh(req.type) == VIRTIO_PMEM_REQ_TYPE_FLUSH ? 0 : -EOPNOTSUPP;
}

static bool parse(void *ctx, struct vdb__view *view, struct vdb__chain *chain, struct vdb__elem *elem,
                  struct vdb__frame *frame)
{
	(void)ctx;
	if (!find_response(chain, frame))
		return false;
	elem->op = VDB_OP_FLUSH;
	elem->error = chain->error ? chain->error : parse_type(view, chain);
	return true;
}

/* False: memory has gone meanwhile, or never was any. */
static bool put(struct vdb__view *view, vdb_gpa_t gpa, int byte, uint64_t len)
{
	uint8_t *at;

	for (uint64_t i = 0; i < len; i++) { /* may cross from region to region */
		at = vdb__view_ptr(view, gpa + i, 1, VDB__WRITE);
		if (!at)
			return false;
		*at = (uint8_t)byte;
		vdb__view_mark(view, gpa + i, 1);
	}
	return true;
}

static uint32_t finish(void *ctx, struct vdb__view *view, const struct vdb__frame *frame, int64_t result,
                       uint64_t written)
{
	const int byte = result < 0 ? 0xff : 0; /* -1, or 0 */
	uint64_t first = frame->word[LENGTH];

	(void)ctx;
	(void)written;
	if (!put(view, frame->word[FIRST], byte, first))
		return 0;
	return put(view, frame->word[SECOND], byte, RESPONSE - first) ? (uint32_t)RESPONSE : (uint32_t)first;
}

static const struct vdb__framing framing = {.parse = parse, .finish = finish};

/* ---- The device ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&((struct pmem *)ctx)->config + offset, len);
}

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	(void)index;
	return ((struct pmem *)ctx)->backend;
}

static void destroy(void *ctx)
{
	struct pmem *pmem = ctx;

	if (!pmem)
		return;
	vdb_backend_destroy(pmem->backend);
	free(pmem);
}

static const struct vdb_virtio_ops pmem_ops = {
        .size = sizeof(pmem_ops),
        .device_id = VIRTIO_ID_PMEM,
        .name = "pmem",
        .config_read = config_read,
        .backend = backend_of,
        .destroy = destroy,
};

/* ---- Create ---- */

static int check(const struct vdb_pmem_config *config, uint64_t len)
{
	if (config->gpa % VDB_PMEM_ALIGN || len % VDB_PMEM_ALIGN)
		return vdb__fail(
		        EINVAL,
		        "pmem: region [%#llx, +%#llx): address and length must be multiples of 2 MiB; "
		        "make the file longer (truncate -s %%2M)",
		        LL(config->gpa), LL(len));
	return 0;
}

/* Of a writable file that others see, too, the FLUSH is theirs; else there is nobody to keep anything. */
static int open_backend(struct pmem *pmem, int fd, uint64_t len)
{
	const struct vdb_file_config file = {.size = sizeof(file), .fd = fd};

	if (fd < 0)
		return vdb_backend_null(len, &pmem->backend);
	return vdb_backend_file(&file, &pmem->backend);
}

/* A duplicate of the fd by which what is written there outlives the memory; -1: nothing does. */
static int duplicate(const struct vdb__region *region, int *fd)
{
	uint64_t offset;
	int own = vdb__region_readonly(region) ? -1 : vdb__region_shared_fd(region, &offset);

	if (own < 0)
		return 0;
	*fd = fcntl(own, F_DUPFD_CLOEXEC, 1);
	return *fd < 0 ? vdb__fail_sys(errno, "pmem: the region's file") : 0;
}

/* The region's length, and that fd. */
static int look_up(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t *len, int *fd)
{
	struct vdb__map *map = vdb__mem_map(mem);
	const struct vdb__map_entry *entry = vdb__map_at(map, gpa);
	int rc;

	if (!entry || entry->gpa != gpa) {
		rc = vdb__fail(ENOENT, "pmem: no region starts at %#llx", LL(gpa));
	} else {
		*len = entry->len;
		rc = duplicate(entry->region, fd);
	}
	vdb__map_put(map);
	return rc;
}

static int make(struct vdb_mem *mem, const struct vdb_pmem_config *config, struct pmem **out)
{
	struct pmem *pmem = NULL;
	uint64_t len = 0;
	int fd = -1, rc = look_up(mem, config->gpa, &len, &fd);

	if (!rc)
		rc = check(config, len);
	if (!rc && !(pmem = calloc(1, sizeof(*pmem))))
		rc = vdb__fail(ENOMEM, "pmem: no memory");
	if (!rc)
		rc = open_backend(pmem, fd, len);
	if (fd >= 0)
		close(fd);
	if (rc) {
		destroy(pmem);
		return rc;
	}
	pmem->config = (struct virtio_pmem_config){.start = htole64(config->gpa), .size = htole64(len)};
	*out = pmem;
	return 0;
}

VDB_EXPORT int vdb_pmem_create(const struct vdb_pmem_config *config, struct vdb_virtio **out)
{
	struct vdb_pmem_config own;
	struct vdb_virtio_config at;
	struct pmem *pmem = NULL;
	int rc = vdb__config_take(&own, sizeof(own), config, "pmem config");

	if (!rc)
		rc = vdb__virtio_at(&at, own.at, "pmem");
	if (!rc && (own.reserved || !at.mem))
		rc = vdb__fail(EINVAL, "pmem: mem must be given, reserved be 0");
	if (!rc)
		rc = make(at.mem, &own, &pmem);
	if (rc)
		return rc;
	at.queues = 1;
	at.config_len = sizeof(pmem->config);
	rc = vdb__virtio_create(&pmem_ops, &framing, pmem, &at, out);
	if (rc)
		destroy(pmem);
	return rc;
}
