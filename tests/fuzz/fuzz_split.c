/* SPDX-License-Identifier: Apache-2.0 */
/* A split virtqueue: chains, indices, event suppression and its positions. */
#include "virtq.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	static struct virtq v;

	if (!virtq_open(&v, 0, &in))
		return 0;
	for (int i = 0; i < VIRTQ_STEPS && fuzz_more(&in); i++)
		virtq_step(&v, fuzz_u8(&in) % 32, &in);
	virtq_close(&v);
	return 0;
}
