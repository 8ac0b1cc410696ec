/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* HOSTILE G49: another vCPU of the guest changes headers, ranges, descriptors and tables while virtio-blk is
 * at work on them. Whatever comes of a request, memory that is not the guest's and what lies around the image
 * stay as they are, and the device works, if need be after a reset. */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "image.h"
#include "ready_rig.h"
#include "run.h"

#define DISK (256u << 10)
#define FENCE (64u << 10)     /* bytes of canaries on each side */
#define ISLAND 0x100000000ull /* gpa of the memory that requests lie in */
#define ISLAND_BYTES (64u << 10)
#define SLOTS 4u
#define STRIDE (ISLAND_BYTES / SLOTS)
#define STATUS 0x800u /* in a slot, whose header is at 0 */
#define DATA 0x1000u
#define PIECE 4096u
/* Lengths that stand for PIECE and 1: the driver lets any be used. */
#define LATER_PIECE UINT32_MAX
#define LATER_1 (UINT32_MAX - 1)
#define F(name) (1ull << VIRTIO_BLK_F_##name)

static struct virtio_rig rig;
static struct vdb_backend *backend;
static uint8_t *sea, *island; /* the island lies in the sea, with FENCE around it */
static uint8_t *image;        /* the memory backend's, with FENCE around it */
static char path[64];
static uint32_t stop;
static uint32_t descs; /* of the ring */
static uint64_t answered;

/* ---- Where it all lies ---- */

static uint8_t *fenced(size_t bytes)
{
	void *at = mmap(NULL, bytes + 2 * FENCE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	image_pattern(at, bytes + 2 * FENCE, 7);
	return at;
}

static void check_fences(const uint8_t *at, size_t bytes)
{
	uint8_t *was = fenced(bytes);

	ck_assert(!memcmp(at, was, FENCE));
	ck_assert(!memcmp(at + FENCE + bytes, was + FENCE + bytes, FENCE));
	munmap(was, bytes + 2 * FENCE);
}

static uint8_t *slot_at(uint32_t i)
{
	return island + (size_t)i * STRIDE;
}

static vdb_gpa_t table_of(uint32_t i)
{
	return ready_rig_data(0, i * 64);
}

static void make_backend(bool file)
{
	struct vdb_file_config config = {.size = sizeof(config), .path = path};

	image_make(path, DISK + FENCE, 7);
	image = fenced(DISK);
	if (file) {
		ck_assert_int_eq(vdb_backend_file(&config, &backend), 0);
		ck_assert_int_eq(vdb_backend_resize(backend, DISK), 0);
	} else {
		ck_assert_int_eq(vdb_backend_memory(image + FENCE, DISK, &backend), 0);
	}
}

static void open_rig(bool file)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at};
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = ISLAND, .len = ISLAND_BYTES, .backing = VDB_MEM_HOST};
	struct vdb_virtio *device = NULL;

	sea = fenced(ISLAND_BYTES);
	island = sea + FENCE;
	region.host = island;
	ck_assert_int_eq(vdb_mem_add(rig.ram.mem, &region), 0);
	make_backend(file);
	config.backend = backend;
	ck_assert_msg(vdb_blk_create(&config, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
}

static void close_rig(void)
{
	uint8_t *tail = fenced(DISK);

	vdb_backend_destroy(backend); /* the device has it too */
	virtio_rig_close(&rig);
	check_fences(sea, ISLAND_BYTES);
	check_fences(image, DISK);
	image_pattern(tail, DISK + FENCE, 7);
	ck_assert_uint_eq(image_size(path), DISK + FENCE);
	image_check(path, DISK, tail + DISK, FENCE);
	munmap(tail, DISK + 2 * FENCE);
	munmap(image, DISK + 2 * FENCE);
	munmap(sea, ISLAND_BYTES + 2 * FENCE);
	unlink(path);
}

/* ---- The other vCPU ---- */

static uint64_t next(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x >> 11;
}

static uint64_t any_sector(uint64_t r)
{
	static const uint64_t odd[] = {DISK / 512 - 1, DISK / 512, ~0ull, 1ull << 55, ~0ull / 512};

	return r % 4 ? r / 4 % (DISK / 512) : odd[r / 4 % 5];
}

static uint32_t any_len(uint64_t r)
{
	static const uint32_t odd[] = {0,   1,     15,        16,           17,        511,
	                               512, PIECE, 2 * PIECE, ISLAND_BYTES, 0xfffffe00};

	return odd[r % 11];
}

/* Now and then across an end of the island, or outside of all memory; never where the rings are. */
static uint64_t any_addr(uint64_t r)
{
	if (r % 32 == 0)
		return r | 1ull << 45;
	return ISLAND - 2048 + r / 32 % (ISLAND_BYTES + 4096);
}

static void flip_request(uint64_t r, uint64_t more)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,    VIRTIO_BLK_T_FLUSH,
	                                 VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_DISCARD,
	                                 VIRTIO_BLK_T_IN,           0xdeadbeef};
	uint8_t *slot = slot_at(r / 8 % SLOTS);

	if (r % 4 == 0)
		vdb__store((uint32_t *)(void *)slot, htole32(types[more % 8]));
	else if (r % 4 == 1)
		vdb__store((uint64_t *)(void *)(slot + 8), htole64(any_sector(more)));
	else /* what may be a range: sector, or number and flags */
		vdb__store((uint64_t *)(void *)(slot + DATA + r / 4 % 2 * 8),
		           htole64(r / 4 % 2 ? more % 64 | (more / 64 % 4) << 32 : any_sector(more)));
}

/* Split or packed, in the ring or in a table: 64 bits of address, 32 of length, 32 of the rest. */
static void flip_desc(uint8_t *desc, bool rest, uint64_t r, uint64_t more)
{
	if (r % 3 == 0)
		vdb__store((uint64_t *)(void *)desc, htole64(any_addr(more)));
	else if (r % 3 == 1 || !rest)
		vdb__store((uint32_t *)(void *)(desc + 8), htole32(any_len(more)));
	else
		vdb__store((uint32_t *)(void *)(desc + 12), htole32((uint32_t)more & 0x00070007));
}

static void *flip(void *arg)
{
	uint64_t x = 88172645463325252ull, r, more;

	(void)arg;
	while (!vdb__load(&stop)) {
		r = next(&x);
		more = next(&x);
		if (r % 4 < 2)
			flip_request(r / 4, more);
		else if (r % 4 == 2) /* not where the driver itself has to find its way */
			flip_desc(mock_at(&rig.ram, r / 4 % descs * 16), false, r / 64, more);
		else
			flip_desc(mock_at(&rig.ram, table_of(r / 4 % SLOTS) + r / 16 % 3 * 16), true, r / 64,
			          more);
		if (r / 1024 % 16 == 0)
			(void)sched_yield();
	}
	return NULL;
}

/* ---- The driver ---- */

static void put_lengths(vdb_gpa_t table, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t *len = mock_at(&rig.ram, table + 16 * (uint64_t)i + 8);

		if (vdb__load(len) >= LATER_1)
			vdb__store(len, vdb__load(len) == LATER_1 ? 1 : PIECE);
	}
}

static void submit(uint32_t i, uint32_t type, uint64_t sector, bool indirect)
{
	const vdb_gpa_t gpa = ISLAND + (uint64_t)i * STRIDE;
	const struct virtio_blk_outhdr header = {.type = htole32(type), .sector = htole64(sector)};
	const struct virtq_buf bufs[] = {
	        {gpa, sizeof(header), false},
	        {gpa + DATA, LATER_PIECE, type == VIRTIO_BLK_T_IN},
	        {gpa + STATUS, LATER_1, true},
	};

	memcpy(slot_at(i), &header, sizeof(header));
	slot_at(i)[STATUS] = 0xee;
	if (indirect)
		ck_assert(virtq_add_indirect(&rig.driver[0], table_of(i), bufs, 3, i));
	else
		ck_assert(virtq_add(&rig.driver[0], bufs, 3, i));
	put_lengths(indirect ? table_of(i) : 0, indirect ? 3 : descs);
}

/* False: the device needs a reset. It is one or the other, and never nothing. */
static bool reap(void)
{
	uint64_t cookie;
	uint32_t len;
	int tries = 0;

	while (rig.driver[0].outstanding) {
		if (virtq_reap(&rig.driver[0], &cookie, &len)) {
			answered++;
			continue;
		}
		if (virtio_rig_status(&rig) & VIRTIO_CONFIG_S_NEEDS_RESET)
			return false;
		ck_assert_msg(++tries < 400000, "%u requests without an answer", rig.driver[0].outstanding);
		usleep(20);
	}
	return true;
}

static void up(uint64_t features)
{
	virtio_rig_up(&rig, features | F(FLUSH) | F(DISCARD) | F(WRITE_ZEROES) | F(CONFIG_WCE), 1);
	descs = rig.driver[0].config.entries;
}

/* Until it breaks, or long enough. */
static void live(uint64_t features)
{
	bool indirect = features >> VIRTIO_RING_F_INDIRECT_DESC & 1;

	up(features);
	for (uint32_t batch = 0; batch < 50; batch++) {
		for (uint32_t i = 0; i < SLOTS; i++)
			submit(i, i & 1, (batch * SLOTS + i) % (DISK / PIECE) * (PIECE / 512),
			       indirect && batch & 1);
		(void)virtq_publish(&rig.driver[0]);
		if (!reap())
			break;
	}
	virtio_rig_reset(&rig);
}

/* Nobody interferes: what is written is read. */
static void works(uint64_t features)
{
	uint8_t want[PIECE];

	up(features);
	image_pattern(want, PIECE, 31);
	memcpy(slot_at(0) + DATA, want, PIECE);
	submit(0, VIRTIO_BLK_T_OUT, 8, false);
	(void)virtq_publish(&rig.driver[0]);
	ck_assert(reap());
	submit(1, VIRTIO_BLK_T_IN, 8, false);
	(void)virtq_publish(&rig.driver[0]);
	ck_assert(reap());
	ck_assert_uint_eq(slot_at(0)[STATUS], VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(slot_at(1)[STATUS], VIRTIO_BLK_S_OK);
	ck_assert(!memcmp(slot_at(1) + DATA, want, PIECE));
}

static const uint64_t rings[] = {0, VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC), VRIG_BIT(VIRTIO_F_RING_PACKED),
                                 VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VRIG_BIT(VIRTIO_F_RING_PACKED)};

static uint64_t times_broken(void)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	return info.broken;
}

START_TEST(g49_block_flips)
{
	uint32_t lives = 0;
	pthread_t thread;

	open_rig(_i & 1);
	up(rings[_i / 2]);
	ck_assert_int_eq(pthread_create(&thread, NULL, flip, NULL), 0);
	while (lives < 500 || answered < 5000 || times_broken() < 10) {
		live(rings[_i / 2]);
		lives++;
	}
	vdb__store(&stop, 1u);
	pthread_join(thread, NULL);
	works(rings[_i / 2]);
	close_rig();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("blk_race");

	tcase_add_loop_test(tc, g49_block_flips, 0, 8);
	return test_run("blk_race", tc);
}
