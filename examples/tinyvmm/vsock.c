/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock.h"

#include <string.h>
#include <vdb/vhost_vsock.h>
#include <vdb/vsock.h>

#include "devices.h"
#include "keys.h"
#include "run.h"
#include "tinyvmm.h"
#include "values.h"

static int take_path(struct vsock *vsock, const char *value)
{
	size_t len = strlen(value);

	if (len >= sizeof(vsock->path))
		return complain("--vsock path %.40s...: is too long", value);
	memcpy(vsock->path, value, len + 1);
	return 0;
}

static int take_switch(bool *to, const char *what, const char *value)
{
	static const struct choice choices[] = {{"on", true}, {"off", false}, {0}};
	uint32_t chosen = true;

	if (value && value_choice(what, value, choices, &chosen))
		return -1;
	*to = chosen;
	return 0;
}

static int check_vhost(const struct vsock *vsock, const char *text)
{
	if (!vsock->cid || *vsock->path || vsock->connections || vsock->seqpacket || vsock->rates.given)
		return complain("--vsock %s: with vhost say cid=N, and nothing else: the kernel serves it",
		                text);
	return 0;
}

static int take(void *to, const char *name, const char *value)
{
	struct vsock *vsock = to;
	int taken = rates_take(&vsock->rates, "--vsock", name, value);

	if (taken <= 0)
		return taken;
	if (strcmp(name, "vhost") == 0)
		return take_switch(&vsock->vhost, "--vsock vhost", value);
	if (strcmp(name, "seqpacket") == 0)
		return take_switch(&vsock->seqpacket, "--vsock seqpacket", value);
	if (strcmp(name, "cid") != 0 && strcmp(name, "path") != 0 && strcmp(name, "connections") != 0)
		return complain("--vsock: no key `%s`; see `tinyvmm run --help`", name);
	if (!value)
		return complain("--vsock %s: needs a value: %s=...", name, name);
	if (!strcmp(name, "cid"))
		return value_number("--vsock cid", value, 0, UINT64_MAX, &vsock->cid);
	if (!strcmp(name, "path"))
		return take_path(vsock, value);
	return value_number32("--vsock connections", value, 1, 65536, &vsock->connections);
}

int vsock_parse(struct vsock *vsock, const char *text)
{
	if (vsock->given)
		return complain("--vsock %s: one is all that a guest can use", text);
	*vsock = (struct vsock){.given = true};
	if (keys_parse("--vsock", text, take, vsock))
		return -1;
	if (vsock->vhost)
		return check_vhost(vsock, text);
	if (!vsock->cid || !*vsock->path)
		return complain("--vsock %s: say cid=N,path=PATH; N is the guest's address, from 3 on", text);
	return rates_check(&vsock->rates, "--vsock");
}

uint32_t vsock_count(const struct run_options *options)
{
	return options->vsock.given;
}

int vsock_create(struct run *run, struct device *device, uint32_t index)
{
	const struct vsock *vsock = &run->options.vsock;
	struct vdb_virtio_config at = devices_on_first(run, device);
	const struct vdb_vsock_config config = {.size = sizeof(config),
	                                        .cid = vsock->cid,
	                                        .path = vsock->path,
	                                        .flags = vsock->seqpacket ? VDB_VSOCK_SEQPACKET : 0,
	                                        .max_connections = vsock->connections};

	(void)index;
	device->name = "vsock";
	if (vsock->vhost)
		return vdb_vhost_vsock_create(&at, vsock->cid, &device->virtio);
	device->limit = at.limit = vsock->limit;
	return vdb_vsock_create(&at, &config, &device->virtio);
}
