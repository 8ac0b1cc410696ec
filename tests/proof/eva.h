/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before all else in every file that Eva reads: the compiler's built-ins that Eva does not know, as
 * C that it knows. The library's sources are read as they are.
 *
 * An atomic load is volatile here: to Eva such a load gives any value of its type, each time anew. That is
 * what a guest on another CPU makes of its memory. With OWN_WORDS it gives what is there: for words that only
 * the library writes, where the driver has made any of them that may be.
 */
#ifndef PROOF_EVA_H
#define PROOF_EVA_H

#include <stdbool.h>
#include <stdint.h>

#ifdef OWN_WORDS
#define __atomic_load_n(p, order) (*(p))
#else
#define __atomic_load_n(p, order) (*(volatile __typeof__(*(p)) *)(p))
#endif
#define __atomic_store_n(p, v, order) ((void)(*(p) = (v)))
#define __atomic_thread_fence(order) ((void)0)
#define __atomic_signal_fence(order) ((void)0)
#define __atomic_fetch_add(p, v, order)          \
	__extension__({                          \
		__typeof__(*(p)) eva_old = *(p); \
		*(p) = eva_old + (v);            \
		eva_old;                         \
	})
#define __atomic_fetch_or(p, v, order)           \
	__extension__({                          \
		__typeof__(*(p)) eva_old = *(p); \
		*(p) = eva_old | (v);            \
		eva_old;                         \
	})
#define __atomic_exchange_n(p, v, order)         \
	__extension__({                          \
		__typeof__(*(p)) eva_old = *(p); \
		*(p) = (v);                      \
		eva_old;                         \
	})
#define __atomic_sub_fetch(p, v, order) (*(p) -= (v))
#define __atomic_compare_exchange_n(p, old, v, weak, success, failure) \
	(*(p) == *(old) ? (*(p) = (v), 1) : (*(old) = *(p), 0))
#define __builtin_ia32_pause() ((void)0)
#define __builtin_prefetch(p, ...) ((void)(p))
/* Of uint64_t, all of them. */
#define __builtin_add_overflow(a, b, sum) (*(sum) = (a) + (b), *(sum) < (a))

#define __builtin_mul_overflow(a, b, product) \
	(*(product) = (uint64_t)(a) * (b), (uint64_t)(a) > UINT64_MAX / (b))
/* A driver's own: Eva's blocks have no end by the byte if their lengths are many. */
#ifdef OWN_HEAP
#include <stdlib.h>
#define malloc proof_malloc
#define free proof_free
void *proof_malloc(size_t size);
void proof_free(void *p);
#endif

/* x86-64 is little-endian; Eva's libc has no such functions. */
#define le16toh(v) ((uint16_t)(v))
#define le32toh(v) ((uint32_t)(v))
#define le64toh(v) ((uint64_t)(v))
#define htole16(v) ((uint16_t)(v))
#define htole32(v) ((uint32_t)(v))
#define htole64(v) ((uint64_t)(v))

/* Only the distance of fields depends on it, not what is done with them. */
#define _Alignas(n)

#include "__fc_builtin.h"

/* Any value at all. */
extern volatile uint64_t any;

/* Eva must get here, or it has proved something about nothing. Volatile: no run is told from another by it.
 */
#define REACHED(place) Frama_C_show_each_reached_##place()

/* What is claimed: an alarm if Eva cannot show it. */
#define CLAIM(condition)                         \
	do {                                     \
		if (!(condition))                \
			*(volatile char *)0 = 0; \
	} while (0)

#endif
