/* SPDX-License-Identifier: Apache-2.0 */
#include "loops.h"

#include <errno.h>
#include <string.h>

#include "pins.h"
#include "tinyvmm.h"
#include "uring.h"
#include "values.h"

static const struct choice places[] = {{"round-robin", VDB_PLACE_ROUND_ROBIN},
                                       {"least-loaded", VDB_PLACE_LEAST_LOADED},
                                       {"pinned", VDB_PLACE_PINNED},
                                       {0}};

struct loops_option loops_default(void)
{
	return (struct loops_option){.count = 1};
}

/* ---- The option ---- */

static int take_cpus(struct loops_option *o, char *text)
{
	char *save = NULL;
	uint32_t n = 0;

	for (char *one = strtok_r(text, ":", &save); one; one = strtok_r(NULL, ":", &save), n++) {
		if (n == o->count)
			return complain("--loops cpus: more CPUs than loops, %u", o->count);
		if (pins_cpu("--loops cpus", one, &o->cpus[n]))
			return -1;
	}
	if (n < o->count)
		return complain("--loops cpus: %u for %u loops; say cpus=A:B:...", n, o->count);
	o->pinned = true;
	return 0;
}

static int take(struct loops_option *o, char *part)
{
	char *value = strchr(part, '=');

	if (!value)
		return complain("--loops %s: must be like 2,cpus=0:1,place=round-robin", part);
	*value++ = '\0';
	if (!strcmp(part, "cpus"))
		return take_cpus(o, value);
	if (!strcmp(part, "place"))
		return value_choice("--loops place", value, places, &o->policy);
	return complain("--loops: no key `%s`; cpus and place are known", part);
}

int loops_parse(struct loops_option *o, const char *text)
{
	char copy[4096], *save = NULL, *part;

	*o = loops_default();
	if (strlen(text) >= sizeof(copy))
		return complain("--loops %.40s...: too long", text);
	memcpy(copy, text, strlen(text) + 1);
	part = strtok_r(copy, ",", &save);
	if (value_number32("--loops", part ? part : "", 1, VDB_LOOPS_MAX, &o->count))
		return -1;
	while ((part = strtok_r(NULL, ",", &save)))
		if (take(o, part))
			return -1;
	return 0;
}

int loops_pin(struct loops_option *o, int cpu, const char *pin)
{
	if (cpu < 0)
		return 0;
	if (o->pinned || o->count > 1)
		return complain("%s is for one loop; say --loops %u,cpus=A:B:...", pin, o->count);
	o->cpus[0] = cpu;
	o->pinned = true;
	return 0;
}

/* ---- The loops ---- */

int loops_start(const struct loops_option *o, const struct vdb_loop_config *each, struct vdb_loops **out)
{
	struct vdb_loops_config config = {
	        .size = sizeof(config),
	        .count = o->count,
	        .policy = o->policy,
	        .cpus = o->pinned ? o->cpus : NULL,
	        .loop = each,
	        .name = "loop",
	};

	if (vdb_loops_create(&config, out) || vdb_loops_start(*out))
		return complain("%s", vdb_errmsg());
	return 0;
}

void loops_end(struct vdb_loops *loops)
{
	/* -EINVAL: they were never started. */
	int err = loops ? vdb_loops_join(loops) : 0;

	if ((err && err != -EINVAL) || vdb_loops_destroy(loops))
		complain("%s", vdb_errmsg());
}

uint32_t loops_for(const struct loops_option *o, uint32_t n)
{
	return o->policy == VDB_PLACE_PINNED ? n % o->count : VDB_PLACE_ANY;
}

static void add(struct vdb_loop_stats *total, const struct vdb_loop_stats *one)
{
	total->engine = one->engine;
	total->turns += one->turns;
	total->sleeps += one->sleeps;
	total->enters += one->enters;
	total->events += one->events;
	total->bells += one->bells;
	total->ios += one->ios;
	total->posts += one->posts;
	total->timers += one->timers;
	total->rearms += one->rearms;
	total->poll_hits += one->poll_hits;
	total->poll_misses += one->poll_misses;
	total->poll_time_ns += one->poll_time_ns;
	total->served += one->served;
	uring_add(total, one);
}

int loops_total(const struct vdb_loops *loops, struct vdb_loop_stats *total)
{
	*total = (struct vdb_loop_stats){.size = sizeof(*total)};
	for (uint32_t i = 0; i < vdb_loops_count(loops); i++) {
		struct vdb_loop_stats one = {.size = sizeof(one)};

		if (vdb_loop_stats(vdb_loops_get(loops, i), &one))
			return complain("%s", vdb_errmsg());
		add(total, &one);
	}
	return 0;
}
