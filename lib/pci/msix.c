/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The word of a vector says why it is closed and whether it is pending. Who raises a closed vector sets the
 * pending bit with the same compare-and-exchange that finds it closed; who opens it takes the bit with the
 * one that opens it, and sends what was pending. Whichever comes first, the other sees it: nothing is lost,
 * and nothing is sent twice.
 *
 * The table and what KVM knows of it are under a lock that only the guest's register accesses take.
 */
#include "pci/msix.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/irq.h>

#include "base/atomic.h"
#include "base/error.h"

/* struct vector.word */
#define MASKED (1u << 0)  /* by its vector control */
#define SHUT (1u << 1)    /* by the function mask */
#define OFF (1u << 2)     /* MSI-X is not enabled: what is raised is gone */
#define NOWHERE (1u << 3) /* open, but its message reaches nobody: likewise */
#define PENDING (1u << 4)
#define CLOSED (MASKED | SHUT)
#define GONE (OFF | NOWHERE)

/* Dwords of a table entry. */
enum { ADDRESS, ADDRESS_HIGH, DATA, CONTROL, DWORDS };

#define ENTRY_BYTES (4u * DWORDS)
#define CONTROL_MASK 1u

/* Where a write is a message to a local APIC. */
#define MSI_WINDOW 0xfee00000u
#define MSI_WINDOW_BITS 0xfff00000u

struct vector {
	uint32_t word; /* atomic */
	int fd;        /* of the irq; set before the word first says that the vector is open */
	struct vdb_irq *irq;
	bool routed; /* the irq leads to where the entry says */
	uint32_t entry[DWORDS];
};

struct vdb__msix {
	struct vdb_vm *vm;
	pthread_mutex_t lock; /* of all but the words */
	bool enable, mask;
	uint32_t count;
	struct vector vectors[];
};

/* ---- Sending ---- */

static void send(const struct vector *v)
{
	const uint64_t one = 1;
	ssize_t done = write(v->fd, &one, sizeof(one));

	(void)done; /* EAGAIN: 2^64 - 2 of them have not been taken yet */
}

void vdb__msix_raise(struct vdb__msix *msix, uint32_t vector)
{
	struct vector *v;
	uint32_t word;

	if (vector >= msix->count)
		return;
	v = &msix->vectors[vector];
	do {
		/* Acquires v->fd from settle(). */
		word = vdb__load_acquire(&v->word);
		if (word & GONE)
			return;
		if (!(word & CLOSED)) {
			send(v);
			return;
		}
		/* Also if it is pending already: the word may have changed since, and what the device did
		 * before it raised is to be seen by whoever takes the bit. */
	} while (!vdb__cas(&v->word, word, word | PENDING));
}

/* ---- The guest's side, locked ---- */

/* Gives the vector an irq that leads where its entry says. False: there is no such place. */
static bool route(struct vdb__msix *msix, struct vector *v)
{
	struct vdb_irq_config config = {
	        .size = sizeof(config),
	        .kind = VDB_IRQ_MSI,
	        .msi_address = v->entry[ADDRESS] | (uint64_t)v->entry[ADDRESS_HIGH] << 32,
	        .msi_data = v->entry[DATA],
	};

	if ((v->entry[ADDRESS] & MSI_WINDOW_BITS) != MSI_WINDOW)
		return false;
	if (v->irq)
		return !vdb_irq_retarget(v->irq, config.msi_address, config.msi_data);
	if (vdb_irq_create(msix->vm, &config, &v->irq))
		return false;
	v->fd = vdb_irq_fd(v->irq);
	return true;
}

/* What the word shall say but for PENDING; an open vector is routed first. */
static uint32_t wanted(struct vdb__msix *msix, struct vector *v)
{
	if (!msix->enable)
		return OFF;
	if (msix->mask || v->entry[CONTROL] & CONTROL_MASK)
		return (msix->mask ? SHUT : 0) | (v->entry[CONTROL] & CONTROL_MASK ? MASKED : 0);
	if (!v->routed)
		v->routed = route(msix, v);
	return v->routed ? 0 : NOWHERE;
}

/* After a change of mask, message or control: the word follows. */
static void settle(struct vdb__msix *msix, struct vector *v)
{
	uint32_t next = wanted(msix, v), keep = next & CLOSED ? PENDING : 0, word;

	do
		word = vdb__load(&v->word);
	while (!vdb__cas(&v->word, word, next | (word & keep)));
	if (word & PENDING && !next)
		send(v);
}

static void settle_all(struct vdb__msix *msix)
{
	for (uint32_t i = 0; i < msix->count; i++)
		settle(msix, &msix->vectors[i]);
}

static void write_dword(struct vector *v, uint32_t i, uint32_t value)
{
	if (i == ADDRESS)
		value &= ~3u;
	if (i == CONTROL)
		value &= CONTROL_MASK;
	else if (v->entry[i] != value)
		v->routed = false;
	v->entry[i] = value;
}

/* ---- Accesses ---- */

static bool proper(uint64_t bytes, uint64_t offset, uint32_t len)
{
	return (len == 4 || len == 8) && offset % len == 0 && offset < bytes && len <= bytes - offset;
}

void vdb__msix_table_read(struct vdb__msix *msix, uint64_t offset, void *data, uint32_t len)
{
	const struct vector *v;

	memset(data, 0, len);
	if (!proper(vdb__msix_table_bytes(msix), offset, len))
		return;
	v = &msix->vectors[offset / ENTRY_BYTES];
	pthread_mutex_lock(&msix->lock);
	memcpy(data, (const char *)v->entry + offset % ENTRY_BYTES, len);
	pthread_mutex_unlock(&msix->lock);
}

void vdb__msix_table_write(struct vdb__msix *msix, uint64_t offset, const void *data, uint32_t len)
{
	uint32_t dwords[2], first = (uint32_t)(offset % ENTRY_BYTES / 4);
	struct vector *v;

	if (!proper(vdb__msix_table_bytes(msix), offset, len))
		return;
	memcpy(dwords, data, len);
	v = &msix->vectors[offset / ENTRY_BYTES];
	pthread_mutex_lock(&msix->lock);
	for (uint32_t i = 0; i < len / 4; i++)
		write_dword(v, first + i, dwords[i]);
	settle(msix, v);
	pthread_mutex_unlock(&msix->lock);
}

void vdb__msix_pba_read(struct vdb__msix *msix, uint64_t offset, void *data, uint32_t len)
{
	uint64_t bits = 0;

	memset(data, 0, len);
	if (!proper(vdb__msix_pba_bytes(msix), offset, len))
		return;
	for (uint32_t i = 0; i < len * 8; i++) {
		uint64_t vector = offset * 8 + i;

		if (vector < msix->count && vdb__load(&msix->vectors[vector].word) & PENDING)
			bits |= 1ull << i;
	}
	memcpy(data, &bits, len);
}

uint64_t vdb__msix_table_bytes(const struct vdb__msix *msix)
{
	return (uint64_t)msix->count * ENTRY_BYTES;
}

uint64_t vdb__msix_pba_bytes(const struct vdb__msix *msix)
{
	return ((uint64_t)msix->count + 63) / 64 * 8;
}

uint32_t vdb__msix_vectors(const struct vdb__msix *msix)
{
	return msix->count;
}

void vdb__msix_control(struct vdb__msix *msix, bool enable, bool mask)
{
	pthread_mutex_lock(&msix->lock);
	msix->enable = enable;
	msix->mask = mask;
	settle_all(msix);
	pthread_mutex_unlock(&msix->lock);
}

/* ---- Life ---- */

int vdb__msix_create(struct vdb_vm *vm, uint32_t vectors, struct vdb__msix **out)
{
	struct vdb__msix *msix;

	if (!vectors || vectors > VDB__MSIX_MAX)
		return vdb__fail(EINVAL, "MSI-X: %u vectors; 1 to %u", vectors, VDB__MSIX_MAX);
	msix = calloc(1, sizeof(*msix) + vectors * sizeof(msix->vectors[0]));
	if (!msix)
		return vdb__fail(ENOMEM, "MSI-X: no memory for %u vectors", vectors);
	msix->vm = vm;
	msix->count = vectors;
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&msix->lock, NULL);
	for (uint32_t i = 0; i < vectors; i++) {
		msix->vectors[i].fd = -1;
		msix->vectors[i].entry[CONTROL] = CONTROL_MASK;
		msix->vectors[i].word = OFF;
	}
	*out = msix;
	return 0;
}

void vdb__msix_destroy(struct vdb__msix *msix)
{
	if (!msix)
		return;
	for (uint32_t i = 0; i < msix->count; i++)
		vdb_irq_destroy(msix->vectors[i].irq);
	pthread_mutex_destroy(&msix->lock);
	free(msix);
}
