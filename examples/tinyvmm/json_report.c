/* SPDX-License-Identifier: Apache-2.0 */
#include "json_report.h"

#include <errno.h>
#include <json.h>
#include <string.h>

#include "demo.h"
#include "json_put.h"
#include "machine.h"
#include "report.h"
#include "tinyvmm.h"

int json_available(const char *option)
{
	(void)option;
	return 0;
}

static void put_real(struct json_object *to, const char *key, double value)
{
	json_object_object_add(to, key, json_object_new_double(value));
}

static struct json_object *result(const struct result *r)
{
	struct json_object *to = json_object_new_object();

	put(to, "requests", r->requests);
	put(to, "errors", r->errors);
	put(to, "bytes", r->bytes);
	put_real(to, "seconds", r->seconds);
	put_real(to, "requests_per_second", r->seconds > 0 ? (double)r->requests / r->seconds : 0);
	put(to, "flushes", r->flushes);
	put(to, "doorbells_rung", r->rung);
	put(to, "doorbells_suppressed", r->suppressed);
	put(to, "interrupts", r->interrupts);
	put(to, "triggers", r->triggers);
	put(to, "exits", r->exits);
	put_real(to, "latency_p50_us", r->p50_us);
	put_real(to, "latency_p99_us", r->p99_us);
	put_real(to, "latency_max_us", r->max_us);
	put(to, "at_first_finish", r->at_first_finish);
	return to;
}

static struct json_object *vm(const struct machine *m, const struct result *r)
{
	struct json_object *to = result(r);

	put(to, "vm", m->number);
	put(to, "depth", m->depth);
	put(to, "loop", (uint64_t)vdb_loops_index(m->demo->loops, m->loop));
	put_text(to, "mode", m->polls ? "poll" : "irq");
	put(to, "doorbells_arrived", m->lane_stats.kicks);
	if (m->end == MACHINE_FAULTED)
		put_text(to, "event", m->event);
	return to;
}

static struct json_object *loop(const struct vdb_loop_stats *stats, uint32_t threads)
{
	struct json_object *to = json_object_new_object();

	put_text(to, "engine", stats->engine == VDB_ENGINE_URING ? "io_uring" : "epoll");
	put(to, "threads", threads);
	put(to, "turns", stats->turns);
	put(to, "sleeps", stats->sleeps);
	put(to, "enters", stats->enters);
	put(to, "events", stats->events);
	put(to, "bells", stats->bells);
	put(to, "ios", stats->ios);
	put(to, "poll_hits", stats->poll_hits);
	put(to, "poll_misses", stats->poll_misses);
	put(to, "poll_time_ns", stats->poll_time_ns);
	put(to, "served", stats->served);
	put_uring(to, stats);
	return to;
}

static struct json_object *loops(const struct demo *demo)
{
	struct json_object *all = json_object_new_array();

	for (uint32_t i = 0; i < vdb_loops_count(demo->loops); i++) {
		struct vdb_loop_stats stats = {.size = sizeof(stats)};
		struct vdb_loops_info info = {.size = sizeof(info)};
		struct json_object *one;

		if (vdb_loop_stats(vdb_loops_get(demo->loops, i), &stats) ||
		    vdb_loops_query(demo->loops, i, &info))
			continue;
		one = loop(&stats, 1);
		put(one, "loop", i);
		put(one, "vms", info.placed);
		json_object_array_add(all, one);
	}
	return all;
}

static struct json_object *whole(const struct report *report)
{
	const struct demo *demo = report->demo;
	struct json_object *to = json_object_new_object(), *vms = json_object_new_array();

	put_text(to, "library", vdb_version());
	put_text(to, "image", demo->image.name);
	json_object_object_add(to, "direct", json_object_new_boolean(demo->options.direct));
	put_text(to, "doorbell", options_doorbell_name(demo->options.doorbell));
	put_text(to, "mode", options_mode_name(demo->options.mode));
	json_object_object_add(to, "loop", loop(&demo->loop_stats, demo->options.loops.count));
	json_object_object_add(to, "loops", loops(demo));
	for (uint32_t i = 0; i < demo->options.vms; i++)
		json_object_array_add(vms, vm(&demo->machines[i], &report->vms[i]));
	json_object_object_add(to, "vms", vms);
	json_object_object_add(to, "total", result(&report->total));
	return to;
}

int json_write(const struct report *report, int fd, const char *path)
{
	struct json_object *object = whole(report);
	int failed = put_file(fd, object);

	json_object_put(object);
	return failed ? complain("--json %s: %s", path, json_util_get_last_err()) : 0;
}
