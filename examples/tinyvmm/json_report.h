/* SPDX-License-Identifier: Apache-2.0 */
/* --json, --json-stats: results for programs. json_report.c needs json-c; json_absent.c takes its place
 * without. */
#ifndef TINYVMM_JSON_REPORT_H
#define TINYVMM_JSON_REPORT_H

struct report;
struct run;

/* 0, or -1 after a complaint about `option`: built without json-c. */
int json_available(const char *option);

/* Writes the report to `fd`, which is `path`: all that is there then. 0, or -1 after a complaint. */
int json_write(const struct report *report, int fd, const char *path);

/* The statistics of a VM whose devices are still there, as --json-stats says. The same. */
int json_write_stats(struct run *run);

#endif
