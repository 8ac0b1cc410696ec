/* SPDX-License-Identifier: Apache-2.0 */
#include "virtq.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED (1u << VRING_PACKED_DESC_F_USED)

static bool packed(const struct virtq *v)
{
	return v->config.flags & VDB_VIRTQ_PACKED;
}

/* A queue that goes on in the middle of its life. */
static uint32_t position_of(const struct virtq *v, struct fuzz_input *in)
{
	uint16_t avail = fuzz_u16(in), used = fuzz_u16(in);

	if (!packed(v))
		return avail;
	return (uint32_t)used << 16 | avail;
}

static void begin(struct virtq *v)
{
	if (!(v->config.flags & VDB_VIRTQ_RESUME)) {
		v->next = 0;
		v->wrap = true;
		return;
	}
	v->next = packed(v) ? v->config.position & 0x7fff : (uint16_t)v->config.position;
	v->wrap = v->config.position >> 15 & 1;
}

bool virtq_open(struct virtq *v, uint32_t flags, struct fuzz_input *in)
{
	struct vdb_mem *mem = fuzz_ram();
	uint8_t size = fuzz_u8(in), more = fuzz_u8(in);
	struct vdb_queue *queue;

	memset(v, 0, sizeof(*v));
	v->config = (struct vdb_virtq_config){
	        .size = sizeof(v->config),
	        .flags = flags | (more & (VDB_VIRTQ_EVENT_IDX | VDB_VIRTQ_INDIRECT | VDB_VIRTQ_IN_ORDER |
	                                  VDB_VIRTQ_RESUME)),
	        .entries = packed(v) || flags & VDB_VIRTQ_PACKED ? 1u + size % 17 : 1u << (size % 5),
	        .max_segments = more & 0x20 ? 4 : PLAY_SEGS,
	        .max_len = more & 0x40 ? 4096 : 0,
	        .desc = VIRTQ_DESC,
	        .driver = VIRTQ_DRIVER,
	        .device = VIRTQ_DEVICE,
	        .left_at = &v->left,
	};
	if (more & VDB_VIRTQ_RESUME)
		v->config.position = position_of(v, in);
	if (vdb_virtq_create(mem, &v->config, &queue))
		return false;
	begin(v);
	play_open(&v->play, queue, true);
	return true;
}

void virtq_close(struct virtq *v)
{
	uint32_t at;

	play_close(&v->play);
	at = packed(v) ? v->left & 0x7fff : 0;
	fuzz_check(at < v->config.entries);
}

void virtq_desc(struct virtq *v, vdb_gpa_t at, uint32_t i, const struct virtq_words *words)
{
	const struct vring_desc split = {words->addr, words->len, words->flags, words->link};
	const struct vring_packed_desc ring = {words->addr, words->len, words->link, words->flags};

	fuzz_ram_put(at + 16ull * i, packed(v) ? (const void *)&ring : &split, 16);
}

static void offer_packed(struct virtq *v, uint16_t n)
{
	for (; n; n--) {
		struct vring_packed_desc *d = fuzz_ram_at(VIRTQ_DESC + 16u * v->next, 16);

		d->flags = (uint16_t)((d->flags & ~(AVAIL | USED)) | (v->wrap ? AVAIL : USED));
		if (++v->next >= v->config.entries) {
			v->next = 0;
			v->wrap = !v->wrap;
		}
	}
}

void virtq_offer(struct virtq *v, uint16_t head, uint16_t n)
{
	struct vring_avail *avail = fuzz_ram_at(VIRTQ_DRIVER, 4 + 2 * v->config.entries);

	if (packed(v)) {
		offer_packed(v, n);
		return;
	}
	avail->ring[v->next & (v->config.entries - 1)] = head;
	avail->idx = ++v->next;
}

/* One descriptor: anything, but mostly what could be. */
static void write_desc(struct virtq *v, vdb_gpa_t at, uint32_t count, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct virtq_words words = {
	        .addr = fuzz_gpa(in),
	        .len = fuzz_len(in),
	        .flags = how & 0x80 ? fuzz_u16(in) : how & 7,
	        .link = how & 0x40 ? fuzz_u16(in) : fuzz_u8(in) % 17u,
	};

	virtq_desc(v, at, how % count, &words);
}

/* A chain of the ring from where the driver is, each linked to the next. */
static void write_chain(struct virtq *v, struct fuzz_input *in)
{
	uint32_t entries = v->config.entries, from = v->next % entries, n = 1 + fuzz_u8(in) % 4u;
	uint8_t writes = fuzz_u8(in);

	for (uint32_t i = 0; i < n; i++) {
		struct virtq_words words = {
		        .addr = fuzz_gpa(in),
		        .len = fuzz_len(in),
		        .flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
		                            (writes >> i & 1 ? VRING_DESC_F_WRITE : 0)),
		        .link = (uint16_t)(packed(v) ? from : (from + i + 1) % entries),
		};

		virtq_desc(v, VIRTQ_DESC, (from + i) % entries, &words);
	}
	virtq_offer(v, (uint16_t)from, (uint16_t)n);
}

/* What a table is made of, and a descriptor that names it. */
static void write_table(struct virtq *v, struct fuzz_input *in)
{
	uint32_t entries = v->config.entries;
	uint8_t how = fuzz_u8(in);
	struct virtq_words words = {
	        .addr = how & 1 ? fuzz_gpa(in) : VIRTQ_TABLE,
	        .len = how & 2 ? fuzz_len(in) : 16u * (1 + (how >> 4)),
	        .flags = (uint16_t)(VRING_DESC_F_INDIRECT | (how & 4 ? fuzz_u8(in) & 7 : 0)),
	        .link = (uint16_t)(v->next % entries),
	};

	virtq_desc(v, VIRTQ_DESC, v->next % entries, &words);
	virtq_offer(v, (uint16_t)(v->next % entries), 1);
}

static void scribble(struct virtq *v, struct fuzz_input *in)
{
	static const vdb_gpa_t areas[] = {VIRTQ_DESC, VIRTQ_DRIVER, VIRTQ_DEVICE, VIRTQ_TABLE};
	uint8_t how = fuzz_u8(in);

	v->scribbled = true;
	fuzz_ram_write(in, areas[how & 3] + fuzz_u8(in), 1u << (how >> 2 & 3));
}

void virtq_step(struct virtq *v, uint8_t kind, struct fuzz_input *in)
{
	switch (kind) {
	case 0:
	case 1:
		write_chain(v, in);
		break;
	case 2:
		write_desc(v, VIRTQ_DESC, v->config.entries, in);
		break;
	case 3:
		write_desc(v, VIRTQ_TABLE, 17, in);
		break;
	case 4:
		write_table(v, in);
		break;
	case 5:
		virtq_offer(v, fuzz_u8(in), 1);
		break;
	case 6:
		scribble(v, in);
		break;
	case 7: /* its event words are at the areas' beginning (packed), or behind the rings */
		fuzz_ram_write(in, VIRTQ_DRIVER + (packed(v) ? 0 : 4 + 2 * v->config.entries), 2);
		break;
	case 8:
		fuzz_ram_write(in, VIRTQ_DRIVER, 4);
		break;
	default:
		play_step(&v->play, (enum play_step)(kind % PLAY_STEPS), in);
	}
}
