/* SPDX-License-Identifier: Apache-2.0 */
/* --json, --json-stats: results for programs. json_report.c needs json-c; json_absent.c takes its place
 * without. */
#ifndef TINYVMM_JSON_REPORT_H
#define TINYVMM_JSON_REPORT_H

struct report;
struct run;

/* 0, or -1 after a complaint about `option`: built without json-c. */
int json_available(const char *option);

/* Writes the report to `path`. 0, or -1 after a complaint. */
int json_write(const struct report *report, const char *path);

/* The statistics of a VM whose devices are still there, to stdout if `path` is "-". The same. */
int json_write_stats(struct run *run, const char *path);

#endif
