/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-pmem behind mmio registers at arg0, and does what pmem_abi.h says. */
#include <linux/virtio_pmem.h>

#include "pmem_abi.h"
#include "runtime.h"
#include "virtio_mmio.h"
#include "virtq.h"

#define PAGE 4096u

static struct pmem_params *const params = (struct pmem_params *)PMEM_PARAMS;
static struct virtq queue;

_Noreturn static void end(uint32_t status)
{
	guest_out32(PMEM_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

static void open(struct virtio *dev)
{
	if (dev->id != 27)
		end(PMEM_NOT_FOUND);
	if (!virtio_negotiate(dev, params->features))
		end(PMEM_REFUSED);
	params->start = virtio_config64(dev, 0);
	params->size = virtio_config64(dev, 8);
	virtq_init(&queue, dev, 0, 16, (void *)(uintptr_t)PMEM_RINGS);
	virtq_disarm(&queue);
	if (!virtq_enable(&queue, VIRTIO_NO_VECTOR) || !virtio_drive(dev))
		end(PMEM_REFUSED);
}

static void flush(void)
{
	struct virtio_pmem_req *req = (void *)(uintptr_t)PMEM_REQUEST;
	volatile struct virtio_pmem_resp *resp = (void *)(uintptr_t)(PMEM_REQUEST + 64);
	const struct virtq_buffer buffers[2] = {{(uintptr_t)req, sizeof(*req), 0},
	                                        {(uintptr_t)resp, sizeof(*resp), 1}};
	uint32_t len = 0;

	req->type = VIRTIO_PMEM_REQ_TYPE_FLUSH;
	resp->ret = 0x1234;
	if (virtq_add(&queue, buffers, 2) < 0)
		end(PMEM_REFUSED);
	virtq_publish(&queue);
	while (virtq_take(&queue, &len) < 0)
		guest_pause();
	params->answer = resp->ret;
	if (len != sizeof(*resp))
		end(PMEM_USED_WRONG);
	if (params->answer)
		end(PMEM_NOT_FLUSHED);
}

static volatile uint64_t *word(uint64_t page)
{
	return (volatile uint64_t *)(uintptr_t)(params->start + page * PAGE);
}

static void check(uint32_t salt, uint32_t status)
{
	for (uint64_t i = 0; i < params->size / PAGE; i++) {
		params->wrong = (uint32_t)i;
		if (*word(i) != pmem_word(i, salt))
			end(status);
	}
}

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		end(PMEM_NOT_FOUND);
	open(&dev);
	check(params->from, PMEM_WAS_WRONG);
	for (uint64_t i = 0; i < params->size / PAGE; i++)
		*word(i) = pmem_word(i, params->to);
	flush();
	check(params->keeps ? params->to : params->from, PMEM_IS_WRONG);
	virtio_reset(&dev);
	end(PMEM_OK);
}
