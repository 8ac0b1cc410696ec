/* SPDX-License-Identifier: Apache-2.0 */
/* The library is built with hidden visibility; what is public says so where it is defined. */
#ifndef VDB_BASE_EXPORT_H
#define VDB_BASE_EXPORT_H

#define VDB_EXPORT __attribute__((visibility("default")))

#endif
