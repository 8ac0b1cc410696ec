/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* A stranger's back end: the disk that qemu-storage-daemon exports by vhost-user. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "run.h"
#include "virtio_rig.h"

#define DAEMON "/usr/bin/qemu-storage-daemon"
#define SECTORS 2048u
#define HEADER 0x8000u
#define STATUS 0x8010u
#define DATA 0x9000u

static struct virtio_rig rig;
static char dir[] = "/tmp/vu-qemu-XXXXXX", image[64], path[64];
static pid_t daemon_pid;

static void start_daemon(void)
{
	char node[128], export[192];

	(void)snprintf(image, sizeof(image), "%s/image", dir);
	(void)snprintf(path, sizeof(path), "%s/sock", dir);
	(void)snprintf(node, sizeof(node), "driver=file,node-name=disk,filename=%s", image);
	(void)snprintf(export, sizeof(export),
	               "type=vhost-user-blk,id=disk,node-name=disk,writable=on,num-queues=2,"
	               "addr.type=unix,addr.path=%s",
	               path);
	daemon_pid = fork();
	ck_assert_int_ge(daemon_pid, 0);
	if (daemon_pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	execl(DAEMON, DAEMON, "--blockdev", node, "--export", export, (char *)NULL);
	_exit(127);
}

static void make_image(void)
{
	int fd = open(image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, SECTORS * 512), 0);
	close(fd);
}

static struct vdb_virtio *maker(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_vhost_user_config config = {.size = sizeof(config),
	                                             .at = at,
	                                             .device_id = 2,
	                                             .path = path,
	                                             .queues = 2,
	                                             .config_len = 60,
	                                             .timeout_ms = 60000};
	struct vdb_virtio *device = NULL;
	int rc = -1;

	(void)arg;
	/* Its socket is there before it listens. */
	for (int i = 0; i < 60000; i++) {
		rc = vdb_vhost_user_create(&config, &device);
		if (rc != -ECONNREFUSED && rc != -ENOENT)
			break;
		usleep(1000);
	}
	ck_assert_msg(!rc, "%s", vdb_errmsg());
	return device;
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(image, sizeof(image), "%s/image", dir);
	make_image();
	start_daemon();
	virtio_rig_open_foreign(&rig, maker, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
	kill(daemon_pid, SIGTERM);
	ck_assert_int_eq(waitpid(daemon_pid, NULL, 0), daemon_pid);
	unlink(image);
	unlink(path);
	rmdir(dir);
}

static void request(uint32_t queue, uint32_t type, uint64_t sector)
{
	vdb_gpa_t base = queue * VRIG_STRIDE;
	const struct virtio_blk_outhdr header = {.type = type, .sector = sector};
	const struct virtq_buf bufs[] = {{.gpa = base + HEADER, .len = sizeof(header)},
	                                 {.gpa = base + DATA, .len = 4096, .write = type == VIRTIO_BLK_T_IN},
	                                 {.gpa = base + STATUS, .len = 1, .write = true}};
	uint8_t *status = mock_at(&rig.ram, base + STATUS);
	uint64_t cookie;
	uint32_t len;
	int tries = 0;

	memcpy(mock_at(&rig.ram, base + HEADER), &header, sizeof(header));
	*status = 0xff;
	ck_assert(virtq_add(&rig.driver[queue], bufs, 3, sector));
	(void)virtq_publish(&rig.driver[queue]);
	while (!virtq_reap(&rig.driver[queue], &cookie, &len)) {
		ck_assert_int_lt(++tries, 400000);
		usleep(100);
	}
	ck_assert_uint_eq(cookie, sector);
	ck_assert_uint_eq(*status, VIRTIO_BLK_S_OK);
}

static void write_and_read(uint32_t queue, uint32_t times)
{
	uint8_t *data = mock_at(&rig.ram, queue * VRIG_STRIDE + DATA);

	for (uint32_t i = 0; i < times; i++) {
		memset(data, (int)(i + 1), 4096);
		request(queue, VIRTIO_BLK_T_OUT, i * 8);
	}
	for (uint32_t i = 0; i < times; i++) {
		memset(data, 0, 4096);
		request(queue, VIRTIO_BLK_T_IN, i * 8);
		ck_assert_uint_eq(data[0], i + 1);
		ck_assert_uint_eq(data[4095], i + 1);
	}
}

START_TEST(its_disk_is_written_and_read)
{
	uint64_t capacity;

	vdb__virtio_config_read(rig.device, 0, &capacity, sizeof(capacity));
	ck_assert_uint_eq(capacity, SECTORS);
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), 2);
	write_and_read(0, 40);
	write_and_read(1, 40);
}
END_TEST

static void count_done(void *word)
{
	__atomic_fetch_add((uint32_t *)word, 1, __ATOMIC_ACQ_REL);
}

START_TEST(it_stops_and_goes_on_and_is_reset)
{
	for (int life = 0; life < 3; life++) {
		virtio_rig_up(&rig, 0, 2);
		for (int i = 0; i < 3; i++) {
			uint32_t done = 0;

			write_and_read(0, 5);
			ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count_done, &done), 0);
			virtio_rig_wait(&done, 1);
			ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
			write_and_read(1, 5);
		}
	}
	ck_assert_uint_eq(rig.breaks, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_user_qemu");

	if (access(DAEMON, X_OK)) {
		(void)fprintf(stderr, "skipped: there is no " DAEMON "; install qemu-system-common\n");
		return 77;
	}
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, its_disk_is_written_and_read);
	tcase_add_test(tc, it_stops_and_goes_on_and_is_reset);
	return test_run("vhost_user_qemu", tc);
}
