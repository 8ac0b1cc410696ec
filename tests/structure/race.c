/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two threads hand over a plain word. With RACE the flag between them is relaxed,
 * and ThreadSanitizer must report the word; with the library's release/acquire
 * pair it must have nothing to say.
 */
#include <pthread.h>
#include <stdio.h>

#include "base/atomic.h"

static int word;
static int ready;

static void *write_word(void *arg)
{
	(void)arg;
	word = 42;
#ifdef RACE
	vdb__store(&ready, 1);
#else
	vdb__store_release(&ready, 1);
#endif
	return NULL;
}

static int is_ready(void)
{
#ifdef RACE
	return vdb__load(&ready);
#else
	return vdb__load_acquire(&ready);
#endif
}

int main(void)
{
	pthread_t writer;
	int seen;

	if (pthread_create(&writer, NULL, write_word, NULL))
		return 1;
	while (!is_ready())
		vdb__cpu_relax();
	seen = word;
	pthread_join(writer, NULL);
	printf("%d\n", seen);
	return seen != 42;
}
