/* SPDX-License-Identifier: Apache-2.0 */
/* --json-stats: what `tinyvmm run` has counted. */
#include <string.h>
#include <unistd.h>

#include "caps.h"
#include "json_put.h"
#include "json_report.h"
#include "run.h"
#include "tinyvmm.h"

static struct json_object *vcpu(const struct vdb_vcpu *vcpu)
{
	struct vdb_vcpu_stats stats = {.size = sizeof(stats)};
	struct json_object *to = json_object_new_object();

	if (vdb_vcpu_stats(vcpu, &stats))
		return to;
	put(to, "vcpu", vdb_vcpu_index(vcpu));
	put(to, "runs", stats.runs);
	put(to, "exits_mmio", stats.exits_mmio);
	put(to, "exits_pio", stats.exits_pio);
	put(to, "exits_intr", stats.exits_intr);
	put(to, "exits_other", stats.exits_other);
	put(to, "unclaimed", stats.unclaimed);
	put(to, "kicks", stats.kicks);
	return to;
}

static struct json_object *loop(const struct vdb_loops *loops)
{
	struct vdb_loop_stats stats;
	struct json_object *to = json_object_new_object();

	if (loops_total(loops, &stats))
		return to;
	put(to, "threads", vdb_loops_count(loops));
	put_text(to, "engine", stats.engine == VDB_ENGINE_URING ? "io_uring" : "epoll");
	put(to, "turns", stats.turns);
	put(to, "sleeps", stats.sleeps);
	put(to, "enters", stats.enters);
	put(to, "events", stats.events);
	put(to, "bells", stats.bells);
	put(to, "ios", stats.ios);
	put(to, "posts", stats.posts);
	put(to, "poll_hits", stats.poll_hits);
	put(to, "poll_misses", stats.poll_misses);
	put(to, "poll_time_ns", stats.poll_time_ns);
	put_uring(to, &stats);
	return to;
}

static void put_limit(struct json_object *to, struct vdb_limit *limit)
{
	struct vdb_limit_stats stats = {.size = sizeof(stats)};
	struct json_object *own;

	if (!limit || vdb_limit_stats(limit, &stats))
		return;
	own = json_object_new_object();
	put(own, "bytes", stats.bytes);
	put(own, "ops", stats.ops);
	put(own, "throttled", stats.throttled);
	put(own, "waited_ns", stats.waited_ns);
	put(own, "waiting", stats.waiting);
	json_object_object_add(to, "limit", own);
}

static struct json_object *queue(const struct vdb_lane_stats *stats, uint32_t index)
{
	struct json_object *to = json_object_new_object();

	put(to, "queue", index);
	put(to, "requests", stats->requests);
	put(to, "completions", stats->completions);
	put(to, "errors", stats->errors);
	put(to, "bytes_read", stats->bytes_read);
	put(to, "bytes_written", stats->bytes_written);
	put(to, "flushes", stats->flushes);
	put(to, "discards", stats->discards);
	put(to, "zeroes", stats->zeroes);
	put(to, "kicks", stats->kicks);
	put(to, "visits", stats->visits);
	put(to, "poll_hits", stats->poll_hits);
	put(to, "triggers", stats->triggers);
	put(to, "suppressed", stats->suppressed);
	put(to, "coalesced", stats->coalesced);
	put(to, "poll_ns", stats->poll_ns);
	put(to, "inflight", stats->inflight);
	return to;
}

/* Where it is a vsock device. */
static void put_vsock(struct json_object *to, struct vdb_virtio *virtio)
{
	struct vdb_vsock_stats stats = {.size = sizeof(stats)};
	struct json_object *own;

	if (vdb_vsock_stats(virtio, &stats))
		return;
	own = json_object_new_object();
	put(own, "connections", stats.connections);
	put(own, "opened_by_host", stats.opened_by_host);
	put(own, "opened_by_guest", stats.opened_by_guest);
	put(own, "refused_by_host", stats.refused_by_host);
	put(own, "failed", stats.failed);
	put(own, "bytes_to_host", stats.bytes_to_host);
	put(own, "bytes_to_guest", stats.bytes_to_guest);
	put(own, "packets_to_host", stats.packets_to_host);
	put(own, "packets_to_guest", stats.packets_to_guest);
	put(own, "resets", stats.resets);
	put(own, "credit_stalls", stats.credit_stalls);
	put(own, "host_stalls", stats.host_stalls);
	put(own, "buffered", stats.buffered);
	put(own, "drops", stats.drops);
	put(own, "violations", stats.violations);
	put(own, "timeouts", stats.timeouts);
	put(own, "accept_errors", stats.accept_errors);
	put(own, "messages_to_host", stats.messages_to_host);
	put(own, "messages_to_guest", stats.messages_to_guest);
	put(own, "messages_too_long", stats.messages_too_long);
	json_object_object_add(to, "vsock", own);
}

static void put_said(struct json_object *to, const struct vdb_balloon_stats *stats)
{
	const struct {
		const char *key;
		uint64_t value;
	} all[] = {
	        {"swapped_in", stats->swapped_in},
	        {"swapped_out", stats->swapped_out},
	        {"major_faults", stats->major_faults},
	        {"minor_faults", stats->minor_faults},
	        {"free", stats->free},
	        {"total", stats->total},
	        {"available", stats->available},
	        {"caches", stats->caches},
	        {"hugetlb_allocations", stats->hugetlb_allocations},
	        {"hugetlb_failures", stats->hugetlb_failures},
	        {"oom_kills", stats->oom_kills},
	        {"alloc_stalls", stats->alloc_stalls},
	        {"async_scanned", stats->async_scanned},
	        {"direct_scanned", stats->direct_scanned},
	        {"async_reclaimed", stats->async_reclaimed},
	        {"direct_reclaimed", stats->direct_reclaimed},
	};
	struct json_object *own = json_object_new_object();

	put(own, "updates", stats->updates);
	put(own, "age_ns", stats->age_ns);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (stats->has >> i & 1)
			put(own, all[i].key, all[i].value);
	json_object_object_add(to, "guest", own);
}

/* Where it is a balloon. */
static void put_balloon(struct json_object *to, struct vdb_virtio *balloon)
{
	struct vdb_balloon_stats stats = {.size = sizeof(stats)};
	struct vdb_balloon_info info = {.size = sizeof(info)};
	struct json_object *own;

	if (vdb_balloon_query(balloon, &info) || vdb_balloon_stats(balloon, &stats))
		return;
	own = json_object_new_object();
	put(own, "target", info.target);
	put(own, "actual", info.actual);
	put(own, "inflated", info.inflated);
	put(own, "deflated", info.deflated);
	put(own, "reported", info.reported);
	put(own, "discarded", info.discarded);
	put(own, "kept", info.kept);
	put(own, "failed", info.failed);
	put(own, "wrong", info.wrong);
	if (stats.updates)
		put_said(own, &stats);
	json_object_object_add(to, "balloon", own);
}

static void put_tap(struct json_object *to, const struct vdb_tap_info *tap)
{
	struct json_object *own = json_object_new_object();

	put_text(own, "name", tap->name);
	put(own, "mtu", tap->mtu);
	put(own, "up", !!(tap->flags & VDB_TAP_IS_UP));
	put(own, "gone", !!(tap->flags & VDB_TAP_IS_GONE));
	put(own, "missed", tap->missed);
	put(own, "bursts", tap->bursts);
	put(own, "reads", tap->reads);
	put(own, "vain", tap->vain);
	put(own, "copied", tap->copied);
	put(own, "spilled", tap->spilled);
	put(own, "stalls", tap->stalls);
	put(own, "failed", tap->failed);
	json_object_object_add(to, "tap", own);
}

/* Where it is a network card. */
static void put_net(struct json_object *to, const struct device *device)
{
	struct vdb_net_stats stats = {.size = sizeof(stats)};
	struct vdb_tap_info tap = {.size = sizeof(tap)};
	struct json_object *own;

	if (!device->netdev || vdb_net_stats(device->virtio, VDB_NET_ALL, &stats))
		return;
	own = json_object_new_object();
	put(own, "pairs", stats.in_use);
	put(own, "tx_packets", stats.tx_packets);
	put(own, "tx_bytes", stats.tx_bytes);
	put(own, "tx_bad", stats.tx_bad);
	put(own, "tx_dropped", stats.tx_dropped);
	put(own, "rx_packets", stats.rx_packets);
	put(own, "rx_bytes", stats.rx_bytes);
	put(own, "rx_dropped", stats.rx_dropped);
	put(own, "rx_filtered", stats.rx_filtered);
	put(own, "rx_oversized", stats.rx_oversized);
	put(own, "rx_bad", stats.rx_bad);
	put(own, "rx_stalls", stats.rx_stalls);
	if (!vdb_netdev_tap_query(device->netdev, &tap))
		put_tap(own, &tap);
	json_object_object_add(to, "net", own);
}

static struct json_object *device(const struct device *device)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};
	struct vdb_lane_stats stats = {.size = sizeof(stats)};
	struct json_object *to = json_object_new_object(), *queues = json_object_new_array();

	put_text(to, "name", device->name);
	if (!vdb_virtio_query(device->virtio, &info)) {
		put(to, "device_id", info.device_id);
		put(to, "status", info.status);
		put(to, "features", info.accepted);
		put(to, "resets", info.resets);
		put(to, "broken", info.broken);
	}
	for (uint32_t i = 0; i < info.queues; i++)
		if (!vdb_virtio_queue_stats(device->virtio, i, &stats))
			json_object_array_add(queues, queue(&stats, i));
	json_object_object_add(to, "queues", queues);
	put_limit(to, device->limit);
	put_vsock(to, device->virtio);
	put_balloon(to, device->virtio);
	put_net(to, device);
	return to;
}

/* Of a VM that still runs, or has ended. */
static void put_ending(struct json_object *to, struct ending *ending)
{
	pthread_mutex_lock(&ending->lock);
	if (ending->status >= 0) {
		put_text(to, "ending", ending->text);
		put(to, "status", (uint64_t)ending->status);
	}
	pthread_mutex_unlock(&ending->lock);
}

/* What of it tells who misbehaves: vdb/loop.h says what each is. */
static void put_account(struct json_object *to, const struct run *run)
{
	const struct vdb_tenant_stats stats = caps_account(run);
	struct json_object *own = json_object_new_object();

	put(own, "inflight", stats.inflight);
	put(own, "bytes", stats.bytes);
	put(own, "requests", stats.requests);
	put(own, "bells", stats.bells);
	put(own, "bells_vain", stats.bells_vain);
	put(own, "starts", stats.starts);
	put(own, "broken", stats.broken);
	put(own, "refused", stats.refused);
	put(own, "errors", stats.errors);
	put(own, "dropped", stats.dropped);
	put(own, "throttled", stats.throttled);
	put(own, "crowded", stats.crowded);
	put(own, "irqs", stats.irqs);
	put(own, "irqs_delayed", stats.irqs_delayed);
	put(own, "pinned", stats.pinned);
	put(own, "pinned_refused", stats.pinned_refused);
	put(own, "fds", stats.fds);
	put(own, "fds_refused", stats.fds_refused);
	put(own, "log_lines", stats.log_lines);
	put(own, "log_dropped", stats.log_dropped);
	json_object_object_add(to, "account", own);
}

static struct json_object *whole(struct run *run)
{
	struct json_object *to = json_object_new_object(), *vcpus = json_object_new_array(),
	                   *devices = json_object_new_array();

	put_text(to, "library", vdb_version());
	put_ending(to, &run->ending);
	for (uint32_t i = 0; i < run->options.cpus; i++)
		json_object_array_add(vcpus, vcpu(run->vcpus[i]));
	json_object_object_add(to, "vcpus", vcpus);
	json_object_object_add(to, "loop", loop(run->loops));
	for (uint32_t i = 0; i < run->devices.count; i++)
		json_object_array_add(devices, device(&run->devices.all[i]));
	json_object_object_add(to, "devices", devices);
	put_limit(to, run->limit);
	put_account(to, run);
	return to;
}

int json_write_stats(struct run *run)
{
	struct json_object *object = whole(run);
	int failed;

	if (run->json_fd == STDOUT_FILENO) {
		failed = json_object_to_fd(STDOUT_FILENO, object, JSON_C_TO_STRING_PRETTY);
		failed |= write(STDOUT_FILENO, "\n", 1) != 1;
	} else {
		failed = put_file(run->json_fd, object);
	}
	json_object_put(object);
	return failed ? complain("--json-stats %s: %s", run->options.json, json_util_get_last_err()) : 0;
}
