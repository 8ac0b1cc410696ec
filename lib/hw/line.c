/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM holds the pin up from a write to the irq's eventfd to the guest's EOI, and tells of that by the
 * resample eventfd; if the device still asserts by then, the loop writes again. A line that was
 * raised is therefore never lost: who raises it from 0 writes, and each EOI finds the level of that
 * moment or a later one.
 *
 * It joins KVM's irqs (through their public header only: kvm and loop do not know each other) to a loop,
 * which is why it lives here. The loop's part has fds of its own, so that destroy can take the
 * irq from KVM at once, and be freed when the poll has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <vdb/io.h>
#include <vdb/irq.h>
#include <vdb/line.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "loop/source.h"

struct vdb_line {
	struct vdb_loop *loop;
	struct vdb_irq *irq;
	int trigger, resample; /* copies of the irq's */
	uint32_t level;
	uint32_t gone; /* the loop is through with it */
	struct vdb__post start, end;
	/* Loop's thread. */
	struct vdb_io poll;
	bool polling, ending;
};

static void raise_pin(const struct vdb_line *line)
{
	const uint64_t one = 1;
	ssize_t done = write(line->trigger, &one, sizeof(one));

	(void)done; /* EAGAIN: 2^64 - 2 are waiting, the pin is up */
}

static void let_go(struct vdb_line *line)
{
	vdb_irq_destroy(line->irq);
	line->irq = NULL;
}

static void drop(struct vdb_line *line)
{
	let_go(line);
	if (line->trigger >= 0)
		close(line->trigger);
	if (line->resample >= 0)
		close(line->resample);
	free(line);
}

/* ---- Loop's thread ---- */

static void watch(struct vdb_line *line)
{
	line->polling = true;
	vdb_io_submit(line->loop, &line->poll);
}

/* Pairs with vdb_line_destroy(). */
static void part(struct vdb_line *line)
{
	if (line->ending)
		drop(line);
	else
		vdb__store_release(&line->gone, 1u);
}

/* Emptied before the level is looked at: an EOI that comes later is another event. */
static void acknowledged(struct vdb_io *io, int64_t result)
{
	struct vdb_line *line = vdb__container(io, struct vdb_line, poll);
	uint64_t count;
	ssize_t got;

	line->polling = false;
	if (result < 0 || line->ending) {
		part(line);
		return;
	}
	got = read(line->resample, &count, sizeof(count));
	if (got > 0 && vdb__load(&line->level))
		raise_pin(line);
	watch(line);
}

static void start(struct vdb__post *post, int status)
{
	struct vdb_line *line = vdb__container(post, struct vdb_line, start);

	if (status < 0)
		part(line);
	else
		watch(line);
}

static void end(struct vdb__post *post, int status)
{
	struct vdb_line *line = vdb__container(post, struct vdb_line, end);

	(void)status;
	line->ending = true;
	if (line->polling)
		vdb_io_cancel(line->loop, &line->poll);
	else
		drop(line);
}

/* ---- Any thread ---- */

static int copy_fd(int fd, uint32_t gsi)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return copy < 0 ? vdb__fail_sys(errno, "line of GSI %u: its eventfd cannot be duplicated", gsi)
	                : copy;
}

static int build(struct vdb_line *line, struct vdb_vm *vm, uint32_t gsi)
{
	const struct vdb_irq_config config = {.size = sizeof(config), .kind = VDB_IRQ_LEVEL, .gsi = gsi};
	int err = vdb_irq_create(vm, &config, &line->irq);

	if (err)
		return err;
	line->trigger = copy_fd(vdb_irq_fd(line->irq), gsi);
	if (line->trigger < 0)
		return line->trigger;
	line->resample = copy_fd(vdb_irq_resample_fd(line->irq), gsi);
	return line->resample < 0 ? line->resample : 0;
}

VDB_EXPORT int vdb_line_create(struct vdb_vm *vm, struct vdb_loop *loop, uint32_t gsi, struct vdb_line **out)
{
	struct vdb_line *line = calloc(1, sizeof(*line));
	int err;

	if (!line)
		return vdb__fail(ENOMEM, "line of GSI %u: no memory", gsi);
	*line = (struct vdb_line){
	        .loop = loop, .trigger = -1, .resample = -1, .start.fn = start, .end.fn = end};
	err = build(line, vm, gsi);
	if (err) {
		drop(line);
		return err;
	}
	line->poll = (struct vdb_io){
	        .op = VDB_IO_POLL, .fd = line->resample, .mode = POLLIN, .done = acknowledged};
	vdb__loop_post(loop, &line->start);
	*out = line;
	return 0;
}

VDB_EXPORT void vdb_line_destroy(struct vdb_line *line)
{
	if (!line)
		return;
	vdb__store(&line->level, 0u);
	let_go(line);
	if (vdb__load_acquire(&line->gone)) /* the loop has ended */
		drop(line);
	else
		vdb__loop_post(line->loop, &line->end);
}

VDB_EXPORT void vdb_line_set(struct vdb_line *line, int level)
{
	uint32_t now = level ? 1 : 0;

	if (vdb__load(&line->level) == now)
		return;
	if (!vdb__exchange(&line->level, now) && now)
		raise_pin(line);
}
