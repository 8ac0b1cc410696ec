/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indirect tables of both layouts: the program fills a table of its choice, at a place of its choice, and
 * offers it again and again.
 */
#include "virtq.h"

#define ENTRIES 24u

static void fill(struct virtq *v, vdb_gpa_t at, struct fuzz_input *in)
{
	uint32_t n = fuzz_u8(in) % ENTRIES;
	uint8_t how = fuzz_u8(in);

	for (uint32_t i = 0; i <= n; i++) {
		uint8_t flags = fuzz_u8(in);
		struct virtq_words words = {
		        .addr = fuzz_gpa(in),
		        .len = fuzz_len(in),
		        .flags = (uint16_t)(how & 1 ? flags : flags & VRING_DESC_F_WRITE),
		        .link = (uint16_t)(how & 2 ? fuzz_u8(in) : i + 1),
		};

		if (!(how & 1) && i < n)
			words.flags |= VRING_DESC_F_NEXT;
		virtq_desc(v, at, i, &words);
	}
}

static void name(struct virtq *v, vdb_gpa_t at, struct fuzz_input *in)
{
	uint16_t head = (uint16_t)(v->next % v->config.entries);
	uint8_t how = fuzz_u8(in);
	struct virtq_words words = {
	        .addr = at + (how & 0x80 ? fuzz_u8(in) : 0),
	        .len = how & 0x40 ? fuzz_len(in) : 16u * (how % (ENTRIES + 1)),
	        .flags = VRING_DESC_F_INDIRECT,
	        .link = head,
	};

	if (how & 0x20)
		words.flags = (uint16_t)(words.flags | fuzz_u8(in));
	virtq_desc(v, VIRTQ_DESC, head, &words);
	virtq_offer(v, head, 1);
}

/* Where a table may be: in one piece, across two regions, across an end, in memory that is only to be read.
 */
static vdb_gpa_t place(struct fuzz_input *in)
{
	static const vdb_gpa_t places[] = {VIRTQ_TABLE, FUZZ_LOW - 72, FUZZ_NEXT - 72, FUZZ_ROM, FUZZ_HIGH};
	uint8_t which = fuzz_u8(in);

	return which < 0xe0 ? places[which % 5] + (which >> 3 & 3) : fuzz_gpa(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	uint32_t flags = VDB_VIRTQ_INDIRECT | (fuzz_u8(&in) & VDB_VIRTQ_PACKED);
	static struct virtq v;
	vdb_gpa_t at;

	if (!virtq_open(&v, flags, &in))
		return 0;
	at = place(&in);
	for (int i = 0; i < VIRTQ_STEPS / 4 && fuzz_more(&in); i++) {
		uint8_t kind = fuzz_u8(&in) % 16;

		if (kind < 3)
			fill(&v, at, &in);
		else if (kind < 8)
			name(&v, at, &in);
		else if (kind == 8)
			at = place(&in);
		else
			play_step(&v.play, (enum play_step)(kind % 8), &in);
	}
	virtq_close(&v);
	return 0;
}
