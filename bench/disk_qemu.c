/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's disk: virtio-blk behind the mmio registers of a microvm, on an iothread of its own. */
#include <stdio.h>

#include "calls.h"
#include "disk.h"
#include "qemu.h"
#include "said.h"

static void describe_disk(const struct disk_job *job, char *text, size_t room)
{
	if (!job->path)
		snprintf(text, room, "driver=null-co,node-name=disk,size=%llu,read-zeroes=off",
		         (unsigned long long)job->bytes);
	else
		snprintf(text, room, "driver=file,node-name=disk,filename=%s,aio=io_uring,cache.direct=%s",
		         job->path, job->direct ? "on" : "off");
}

void disk_qemu(const struct bench_options *o, const struct disk_job *job, struct disk_result *result)
{
	static const char device[] = "virtio-blk-device,drive=disk,iothread=loop,num-queues=1,queue-size=256,"
	                             "packed=on,event_idx=on,indirect_desc=on,write-cache=on";
	char cmdline[DISK_CMDLINE], disk[512], thread[64], text[DISK_TEXT];
	const char *const options[] = {
	        "-object", thread, "-blockdev", disk, "-device", device, NULL,
	};
	struct calls calls = {.fd = -1};
	struct qemu q;

	describe_disk(job, disk, sizeof(disk));
	snprintf(thread, sizeof(thread), "iothread,id=loop,poll-max-ns=%u", job->asleep ? 0 : DISK_POLL_NS);
	disk_cmdline(o, job, "", cmdline);
	qemu_start(&q, disk_guest(), cmdline, options);
	qemu_pin(&q, o);
	if (job->count_calls)
		calls_open(&calls, q.iothread);
	qemu_go(&q);
	qemu_finish(&q, text, sizeof(text), said_patience(o));
	disk_read_result(text, result);
	result->calls = calls_close(&calls);
}
