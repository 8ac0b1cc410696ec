/* SPDX-License-Identifier: Apache-2.0 */
/* One region: where its host memory comes from, and the end of its life. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "mem/mem.h"

/* Linux 5.14; the C library's headers may be older. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define KNOWN_FLAGS                                                                                \
	(VDB_REGION_PRIVATE | VDB_REGION_READONLY | VDB_REGION_PREFAULT | VDB_REGION_DISCARDABLE | \
	 VDB_REGION_SEALED)
#define STAYS_UNPINNED (VDB_REGION_PRIVATE | VDB_REGION_READONLY | VDB_REGION_DISCARDABLE)

/* memfd_create() and mmap() both take log2 of the huge page size from this bit on. */
#define HUGE_SHIFT 26

#define LL(x) ((unsigned long long)(x))

static int check_range(const struct vdb_region_config *c)
{
	uint64_t page = c->hugetlb_log2 ? UINT64_C(1) << c->hugetlb_log2 : VDB_PAGE_SIZE;
	uint64_t end;

	if (c->gpa % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "region at %#llx: the address must be a multiple of %u", LL(c->gpa),
		                 VDB_PAGE_SIZE);
	if (!c->len || c->len % page)
		return vdb__fail(EINVAL,
		                 "region at %#llx: length %#llx must be a multiple of its page size %#llx, "
		                 "and not 0",
		                 LL(c->gpa), LL(c->len), LL(page));
	if (__builtin_add_overflow(c->gpa, c->len, &end) || c->len > SIZE_MAX / 2)
		return vdb__fail(EINVAL, "region at %#llx: length %#llx goes beyond the address space",
		                 LL(c->gpa), LL(c->len));
	return 0;
}

static int check_file(const struct vdb_region_config *c)
{
	uint64_t end;

	if (c->fd < 0)
		return vdb__fail(EBADF, "region at %#llx: no file (fd %d)", LL(c->gpa), c->fd);
	if (c->fd_offset % VDB_PAGE_SIZE || __builtin_add_overflow(c->fd_offset, c->len, &end) ||
	    end > INT64_MAX)
		return vdb__fail(EINVAL, "region at %#llx: file offset %#llx is misaligned or too large",
		                 LL(c->gpa), LL(c->fd_offset));
	return 0;
}

static int check_host(const struct vdb_region_config *c)
{
	if (!c->host || (uintptr_t)c->host % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "region at %#llx: host memory %p must be page-aligned", LL(c->gpa),
		                 c->host);
	/* Does nothing to memory that is mapped, and says so if some is not. */
	if ((uintptr_t)c->host > UINTPTR_MAX - c->len || msync(c->host, c->len, MS_ASYNC))
		return vdb__fail(EINVAL, "region at %#llx: host memory %p is not mapped for %#llx bytes",
		                 LL(c->gpa), c->host, LL(c->len));
	return 0;
}

int vdb__region_check(const struct vdb_region_config *c)
{
	int err;

	if (c->flags & ~KNOWN_FLAGS)
		return vdb__fail(EINVAL, "region at %#llx: unknown flags %#x", LL(c->gpa), c->flags);
	if (c->reserved)
		return vdb__fail(EINVAL, "region at %#llx: reserved is %#x; it must be 0", LL(c->gpa),
		                 c->reserved);
	if (c->backing > VDB_MEM_HOST)
		return vdb__fail(EINVAL, "region at %#llx: unknown backing %u", LL(c->gpa), c->backing);
	if (c->hugetlb_log2 && (c->backing == VDB_MEM_FD || c->backing == VDB_MEM_HOST))
		return vdb__fail(EINVAL,
		                 "region at %#llx: the page size of a file or of host memory is its own; "
		                 "leave hugetlb_log2 0",
		                 LL(c->gpa));
	if (c->hugetlb_log2 && (c->hugetlb_log2 <= 12 || c->hugetlb_log2 > 40))
		return vdb__fail(EINVAL, "region at %#llx: no huge pages of 2^%u bytes", LL(c->gpa),
		                 c->hugetlb_log2);
	if (c->backing == VDB_MEM_HOST && c->flags & VDB_REGION_SEALED)
		return vdb__fail(
		        EINVAL,
		        "region at %#llx: nobody knows what is behind the caller's mapping; leave out "
		        "VDB_REGION_SEALED",
		        LL(c->gpa));
	if (c->backing == VDB_MEM_HOST && c->flags & VDB_REGION_PRIVATE)
		return vdb__fail(EINVAL, "region at %#llx: the caller's mapping cannot be made private",
		                 LL(c->gpa));
	err = check_range(c);
	if (!err && c->backing == VDB_MEM_FD)
		err = check_file(c);
	if (!err && c->backing == VDB_MEM_HOST)
		err = check_host(c);
	return err;
}

static int fail_huge(int err, const struct vdb_region_config *c)
{
	if (!c->hugetlb_log2)
		return vdb__fail_sys(err, "region at %#llx: no %#llx bytes of host memory", LL(c->gpa),
		                     LL(c->len));
	if (err == EINVAL || err == ENODEV)
		return vdb__fail(EINVAL, "region at %#llx: this host has no huge pages of %llu KiB",
		                 LL(c->gpa), 1ULL << (c->hugetlb_log2 - 10));
	return vdb__fail(err,
	                 "region at %#llx: not enough free huge pages for %#llx bytes; raise "
	                 "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
	                 LL(c->gpa), LL(c->len), 1ULL << (c->hugetlb_log2 - 10));
}

static int make_memfd(struct vdb__region *region, const struct vdb_region_config *c)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (c->hugetlb_log2)
		flags |= MFD_HUGETLB | c->hugetlb_log2 << HUGE_SHIFT;
	region->fd = memfd_create("vdb-memory", flags);
	if (region->fd < 0)
		return fail_huge(errno, c);
	if (ftruncate(region->fd, (off_t)c->len))
		return fail_huge(errno, c);
	/* Whoever gets the fd could shrink it under us, which is a SIGBUS. */
	if (fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return vdb__fail_sys(errno, "region at %#llx: seal its memfd", LL(c->gpa));
	return 0;
}

/* A mapping beyond the end of its file is a SIGBUS later. */
static int check_file_size(const struct vdb__region *region, const struct vdb_region_config *c)
{
	struct stat st;
	struct statfs fs;

	if (fstat(region->fd, &st) || fstatfs(region->fd, &fs))
		return vdb__fail_sys(errno, "region at %#llx: fd %d", LL(c->gpa), c->fd);
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < c->fd_offset + c->len)
		return vdb__fail(EINVAL,
		                 "region at %#llx: the file has %lld bytes, the region ends at its %llu; "
		                 "ftruncate() it first",
		                 LL(c->gpa), (long long)st.st_size, LL(c->fd_offset + c->len));
	if (fs.f_type == HUGETLBFS_MAGIC && (c->len | c->fd_offset) % (uint64_t)fs.f_bsize)
		return vdb__fail(EINVAL,
		                 "region at %#llx: length and offset must be multiples of the file's "
		                 "page size %ld",
		                 LL(c->gpa), (long)fs.f_bsize);
	return 0;
}

static int check_seals(const struct vdb__region *region, const struct vdb_region_config *c)
{
	int seals;

	if (!(c->flags & VDB_REGION_SEALED))
		return 0;
	seals = fcntl(region->fd, F_GET_SEALS);
	if (seals >= 0 && seals & F_SEAL_SHRINK)
		return 0;
	return vdb__fail(
	        EPERM,
	        "region at %#llx: the file of fd %d could be made shorter; seal it (F_SEAL_SHRINK, a "
	        "memfd's), or leave out VDB_REGION_SEALED",
	        LL(c->gpa), c->fd);
}

static int take_fd(struct vdb__region *region, const struct vdb_region_config *c)
{
	int err;

	region->fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
	if (region->fd < 0)
		return vdb__fail_sys(errno, "region at %#llx: fd %d", LL(c->gpa), c->fd);
	region->fd_offset = c->fd_offset;
	err = check_seals(region, c);
	return err ? err : check_file_size(region, c);
}

static int map_memory(struct vdb__region *region, const struct vdb_region_config *c)
{
	int prot = c->flags & VDB_REGION_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	int flags = c->flags & VDB_REGION_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	void *host;

	if (c->backing == VDB_MEM_ANON)
		flags = MAP_PRIVATE | MAP_ANONYMOUS;
	/* Guests use a part of what they are given. Huge pages are reserved here, or a
	 * shortage of them would be a SIGBUS later. */
	if (!c->hugetlb_log2)
		flags |= MAP_NORESERVE;
	else if (c->backing == VDB_MEM_ANON)
		flags |= MAP_HUGETLB | (int)(c->hugetlb_log2 << HUGE_SHIFT);
	host = mmap(NULL, c->len, prot, flags, region->fd, (off_t)region->fd_offset);
	if (host == MAP_FAILED && c->backing == VDB_MEM_FD)
		return vdb__fail_sys(errno, "region at %#llx: map fd %d%s", LL(c->gpa), c->fd,
		                     errno == EACCES ? " (opened read-only? use VDB_REGION_READONLY or "
		                                       "VDB_REGION_PRIVATE)"
		                                     : "");
	if (host == MAP_FAILED)
		return fail_huge(errno, c);
	region->host = host;
	region->owned = true;
	return 0;
}

/* Unlike MAP_POPULATE, madvise says when it fails; and what would be a SIGBUS is EFAULT. */
static int prefault(const struct vdb__region *region)
{
	int advice = region->readonly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	int err = madvise(region->host, region->len, advice) ? errno : 0;

	if (err == EINVAL)
		return vdb__fail(EOPNOTSUPP,
		                 "region at %#llx: prefaulting needs Linux 5.14 and memory that it can "
		                 "fault in; leave out VDB_REGION_PREFAULT",
		                 LL(region->gpa));
	if (err)
		return vdb__fail(ENOMEM, "region at %#llx: the host cannot give all of its %#llx bytes",
		                 LL(region->gpa), LL(region->len));
	return 0;
}

static int back(struct vdb__region *region, const struct vdb_region_config *c)
{
	int err = 0;

	if (c->backing == VDB_MEM_HOST) {
		region->host = c->host;
	} else {
		if (c->backing == VDB_MEM_MEMFD)
			err = make_memfd(region, c);
		else if (c->backing == VDB_MEM_FD)
			err = take_fd(region, c);
		if (!err)
			err = map_memory(region, c);
	}
	if (!err && c->flags & VDB_REGION_PREFAULT)
		err = prefault(region);
	return err;
}

int vdb__region_create(struct vdb_mem *mem, const struct vdb_region_config *config, struct vdb__region **out)
{
	struct vdb__region *region = calloc(1, sizeof(*region));
	uint64_t pages = config->len / VDB_PAGE_SIZE;
	int err;

	if (!region)
		return vdb__fail(ENOMEM, "region at %#llx: no memory", LL(config->gpa));
	region->gpa = config->gpa;
	region->len = config->len;
	region->mem = mem;
	region->refs = 1;
	region->readonly = config->flags & VDB_REGION_READONLY;
	region->private = config->flags & VDB_REGION_PRIVATE;
	region->pinnable = !(config->flags & STAYS_UNPINNED);
	region->fd = -1;
	vdb__list_init(&region->link);
	err = back(region, config);
	if (!err) {
		vdb__discard_prepare(region, config);
		region->dirty = calloc((size_t)(pages / 64 + 1), sizeof(*region->dirty));
		if (!region->dirty)
			err = vdb__fail(ENOMEM, "region at %#llx: no memory for its dirty bitmap",
			                LL(config->gpa));
	}
	if (err) {
		vdb__region_free(region);
		return err;
	}
	*out = region;
	return 0;
}

void vdb__region_free(struct vdb__region *region)
{
	if (!region)
		return;
	if (region->owned)
		munmap(region->host, region->len);
	if (region->fd >= 0)
		close(region->fd);
	free(region->dirty);
	free(region);
}

void vdb__region_get(struct vdb__region *region)
{
	vdb__ref_get(&region->refs);
}

/* `done` in progress: vdb_mem_destroy() waits for it. On the stack of its thread. */
struct finishing {
	struct vdb__list link;
	pthread_t thread;
};

/*
 * Nobody uses a removed region any more. It is dead before `done` is called, so
 * that whoever `done` wakes can reap it; after that only the control thread
 * touches it.
 */
static void finish(struct vdb__region *region)
{
	struct vdb_mem *mem = region->mem;
	vdb_done_fn done = region->done;
	void *arg = region->done_arg;
	struct finishing self = {.thread = pthread_self()};

	vdb__list_init(&self.link);
	pthread_mutex_lock(&mem->lock);
	mem->leaving--;
	vdb__list_append(&mem->dead, &region->link);
	if (done)
		vdb__list_append(&mem->finishing, &self.link);
	pthread_mutex_unlock(&mem->lock);
	if (!done)
		return;
	done(arg);
	pthread_mutex_lock(&mem->lock);
	vdb__list_remove(&self.link);
	pthread_cond_broadcast(&mem->called);
	pthread_mutex_unlock(&mem->lock);
}

bool vdb__mem_finishing_here(const struct vdb_mem *mem)
{
	const struct vdb__list *l;

	for (l = mem->finishing.next; l != &mem->finishing; l = l->next) {
		if (pthread_equal(vdb__container(l, struct finishing, link)->thread, pthread_self()))
			return true;
	}
	return false;
}

void vdb__region_put(struct vdb__region *region)
{
	if (vdb__ref_put(&region->refs))
		finish(region);
}

void vdb__region_hold(struct vdb__region **region, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vdb__region_get(region[i]);
}

void vdb__region_release(struct vdb__region **region, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		vdb__region_put(region[i]);
}

vdb_gpa_t vdb__region_gpa(const struct vdb__region *region)
{
	return region->gpa;
}

uint64_t vdb__region_len(const struct vdb__region *region)
{
	return region->len;
}

void *vdb__region_host(const struct vdb__region *region)
{
	return region->host;
}

bool vdb__region_readonly(const struct vdb__region *region)
{
	return region->readonly;
}

int vdb__region_shared_fd(const struct vdb__region *region, uint64_t *offset)
{
	*offset = region->fd_offset;
	return region->private ? -1 : region->fd;
}

bool vdb__region_pinnable(const struct vdb__region *region)
{
	return region->pinnable;
}
