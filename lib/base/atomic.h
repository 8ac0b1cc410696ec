/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All ordering of the library, by name. Every user says which access of the
 * other side it pairs with.
 *
 * ThreadSanitizer models neither fences nor what goes through eventfd and
 * io_uring: under it the full fence is a sequentially consistent
 * read-modify-write, and whatever crosses threads has its own release/acquire pair.
 */
#ifndef VDB_BASE_ATOMIC_H
#define VDB_BASE_ATOMIC_H

#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define VDB__TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define VDB__TSAN 1
#endif
#endif

/* One access, no ordering: counters, and words of the guest's that are checked after. */
#define vdb__load(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define vdb__store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

/* What was written before the release store is seen after the acquire load that reads it. */
#define vdb__load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define vdb__store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#define vdb__fetch_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define vdb__fetch_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
#define vdb__exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)

/* References: taking one orders nothing, the last drop sees all that others did. */
#define vdb__ref_get(p) ((void)__atomic_fetch_add((p), 1, __ATOMIC_RELAXED))
#define vdb__ref_put(p) (__atomic_sub_fetch((p), 1, __ATOMIC_ACQ_REL) == 0)

/* Compare and exchange, true if it was `expect`. */
#define vdb__cas(p, expect, v)                                                                           \
	__extension__({                                                                                  \
		__typeof__(*(p)) vdb__old = (expect);                                                    \
		__atomic_compare_exchange_n((p), &vdb__old, (v), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE); \
	})

/* A counter with one writer, read by anybody: no locked operation. */
#define vdb__count(p, n) vdb__store((p), vdb__load(p) + (n))

/*
 * Store, then load another word: only the full fence keeps them in order, on x86
 * too. Both sides of a sleep/wake handshake need it.
 */
static inline void vdb__fence_full(void)
{
#ifdef VDB__TSAN
	uint32_t word = 0;

	(void)__atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* Keeps the compiler's order only: the other side has membarrier() make a full fence of it. */
static inline void vdb__fence_light(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void vdb__cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif
