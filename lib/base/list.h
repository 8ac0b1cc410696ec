/* SPDX-License-Identifier: Apache-2.0 */
/* A doubly linked list through its members. An entry that is on no list points to itself. */
#ifndef VDB_BASE_LIST_H
#define VDB_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct vdb__list {
	struct vdb__list *prev, *next;
};

#define vdb__container(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void vdb__list_init(struct vdb__list *l)
{
	l->prev = l->next = l;
}

static inline bool vdb__list_empty(const struct vdb__list *l)
{
	return l->next == l;
}

static inline void vdb__list_append(struct vdb__list *head, struct vdb__list *entry)
{
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

/* Leaves the entry on no list; harmless if it was on none. */
static inline void vdb__list_remove(struct vdb__list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	vdb__list_init(entry);
}

/* The first entry, taken off; NULL if there is none. */
static inline struct vdb__list *vdb__list_pop(struct vdb__list *head)
{
	struct vdb__list *first = head->next;

	if (first == head)
		return NULL;
	/* The analyzer does not see that a freed entry had left the list:
	 * NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	vdb__list_remove(first);
	return first;
}

/* Moves all entries of `from` to the end of `to`. */
static inline void vdb__list_splice(struct vdb__list *to, struct vdb__list *from)
{
	if (vdb__list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	vdb__list_init(from);
}

#endif
