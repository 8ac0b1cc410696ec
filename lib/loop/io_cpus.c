/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that the kernel makes for a ring (iou-wrk) inherits what the submitting one was bound to, since
 * Linux 6.2. Of a mask that it is given then, the kernel leaves what both have, if there is any: of one that
 * has the loop's CPU and others, the loop's.
 */
#include "loop/io_cpus.h"

#include <errno.h>
#include <unistd.h>

#include "base/error.h"

#define MAX_BYTES 8192u

static int highest(const cpu_set_t *set)
{
	int cpu = CPU_SETSIZE - 1;

	while (cpu >= 0 && !CPU_ISSET((size_t)cpu, set))
		cpu--;
	return cpu;
}

/* Where the files that say how many there are cannot be read, libc counts those of the process. */
static int host_has(void)
{
	long all = sysconf(_SC_NPROCESSORS_CONF);
	cpu_set_t mine;
	int last = sched_getaffinity(0, sizeof(mine), &mine) ? -1 : highest(&mine);

	return all > last ? (int)all : last + 1;
}

static int copy(struct vdb__io_cpus *own, const struct vdb_loop_config *config)
{
	const cpu_set_t *from = config->io_cpus;
	int has = host_has();

	for (uint64_t cpu = 0; cpu < config->io_cpus_size * 8; cpu++) {
		if (!CPU_ISSET_S(cpu, config->io_cpus_size, from))
			continue;
		if (cpu >= (uint64_t)has || cpu >= CPU_SETSIZE)
			return vdb__fail(EINVAL, "loop: io_cpus: host CPU %llu does not exist",
			                 (unsigned long long)cpu);
		CPU_SET(cpu, &own->set);
	}
	if (!CPU_COUNT(&own->set))
		return vdb__fail(EINVAL, "loop: io_cpus is an empty set; NULL is the default");
	own->asked = true;
	return 0;
}

int vdb__io_cpus_take(struct vdb__io_cpus *own, const struct vdb_loop_config *config)
{
	*own = (struct vdb__io_cpus){0};
	if (!config->io_cpus && !config->io_cpus_size)
		return 0;
	if (!config->io_cpus || config->io_cpus_size > MAX_BYTES || config->io_cpus_size % sizeof(long))
		return vdb__fail(EINVAL,
		                 "loop: io_cpus with an io_cpus_size of %llu; it is a cpu_set_t and its size",
		                 (unsigned long long)config->io_cpus_size);
	return copy(own, config);
}

cpu_set_t vdb__io_cpus_here(const struct vdb__io_cpus *own, bool sqpoll)
{
	cpu_set_t mine, both, others;

	if (sqpoll || sched_getaffinity(0, sizeof(mine), &mine) || CPU_COUNT(&mine) != 1)
		return own->set;
	CPU_AND(&both, &own->set, &mine);
	CPU_XOR(&others, &own->set, &both);
	return CPU_COUNT(&others) ? others : own->set;
}
