/* SPDX-License-Identifier: Apache-2.0 */
#include "vu_rig.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct vu_rig vu_rig;

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, path, strlen(path));
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static struct vdb_virtio *maker(const struct vdb_virtio_config *at, void *arg)
{
	struct vdb_virtio *device = NULL;
	struct vdb_vhost_user_config *config = &vu_rig.config;
	int rc;

	(void)arg;
	config->size = sizeof(*config);
	config->at = at;
	config->device_id = VIRTIO_ECHO;
	if (!config->queues)
		config->queues = VU_QUEUES;
	if (!config->timeout_ms)
		config->timeout_ms = 30000;
	if (vu_rig.by_fd)
		config->fd = connect_to(vu_rig.vu.path);
	else
		config->path = vu_rig.vu.path;
	/* Where time is short on purpose, a busy machine may take longer. */
	do
		rc = vdb_vhost_user_create(config, &device);
	while (rc == -ETIMEDOUT);
	ck_assert_msg(!rc, "%s", vdb_errmsg());
	if (vu_rig.by_fd)
		close(config->fd);
	return device;
}

void vu_rig_open(const struct vdb_vhost_user_config *config)
{
	if (config)
		vu_rig.config = *config;
	vu_open(&vu_rig.vu);
	virtio_rig_open_foreign(&vu_rig.rig, maker, NULL);
}

void vu_rig_close(void)
{
	virtio_rig_close(&vu_rig.rig);
	vu_close(&vu_rig.vu);
}

struct vdb_vhost_user_info vu_rig_info(void)
{
	struct vdb_vhost_user_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_vhost_user_query(vu_rig.rig.device, &info), 0);
	return info;
}

void vu_rig_wait_connected(bool connected)
{
	const struct timespec ns = {.tv_nsec = 1000000};

	for (int i = 0; i < 30000; i++) {
		if (vu_rig_info().connected == connected)
			return;
		nanosleep(&ns, NULL);
	}
	ck_abort_msg("waited long for a back end: %s", vu_rig_info().why);
}

uint32_t vu_rig_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint32_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void count_done(void *word)
{
	__atomic_fetch_add((uint32_t *)word, 1, __ATOMIC_ACQ_REL);
}

void vu_rig_quiesce(void)
{
	uint32_t done = 0;

	ck_assert_int_eq(vdb_virtio_quiesce(vu_rig.rig.device, count_done, &done), 0);
	virtio_rig_wait(&done, 1);
}

void vu_rig_resume(void)
{
	ck_assert_msg(!vdb_virtio_resume(vu_rig.rig.device), "%s", vdb_errmsg());
}
