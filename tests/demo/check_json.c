/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: check_json FILE VMS REQUESTS
 * The file of `tinyvmm demo --json FILE` has `vms`, one object for each VM, and `total`, and
 * they agree with each other.
 */
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const keys[] = {
        "requests",      "errors",         "bytes",          "seconds",
        "flushes",       "doorbells_rung", "interrupts",     "doorbells_suppressed",
        "exits",         "latency_p50_us", "latency_p99_us", "at_first_finish",
        "latency_max_us"};

static uint64_t get(struct json_object *from, const char *key)
{
	struct json_object *value;

	if (json_object_object_get_ex(from, key, &value))
		return json_object_get_uint64(value);
	printf("no \"%s\"\n", key);
	exit(1);
}

static void expect(int good, const char *what, size_t vm)
{
	if (good)
		return;
	printf("VM %zu: %s\n", vm, what);
	exit(1);
}

static void check_vm(struct json_object *vm, size_t i, uint64_t requests)
{
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
		(void)get(vm, keys[k]);
	expect(get(vm, "vm") == i, "not in order", i);
	expect(get(vm, "requests") == requests, "not all requests", i);
	expect(get(vm, "errors") == 0, "errors", i);
	expect(get(vm, "bytes") == (requests - get(vm, "flushes")) * 4096, "bytes do not fit", i);
	expect(get(vm, "at_first_finish") <= requests, "more than all at the first finish", i);
	expect(get(vm, "doorbells_rung") > 0, "no doorbell rung", i);
	expect(get(vm, "exits") > 0, "no exit", i);
}

int main(int argc, char **argv)
{
	struct json_object *whole, *vms, *total;
	uint64_t requests, first = 0;
	size_t n;

	if (argc != 4)
		return 2;
	n = strtoul(argv[2], NULL, 10);
	requests = strtoul(argv[3], NULL, 10);
	whole = json_object_from_file(argv[1]);
	if (!json_object_object_get_ex(whole, "vms", &vms) ||
	    !json_object_object_get_ex(whole, "total", &total) || json_object_array_length(vms) != n) {
		printf("no object with `vms`, an array of %zu, and `total`\n", n);
		return 1;
	}
	for (size_t i = 0; i < n; i++) {
		struct json_object *vm = json_object_array_get_idx(vms, i);

		check_vm(vm, i, requests);
		first |= get(vm, "at_first_finish") == requests;
	}
	expect(first != 0, "nobody had finished first", 0);
	expect(get(total, "requests") == n * requests, "total does not fit", n);
	json_object_put(whole);
	return 0;
}
