/* SPDX-License-Identifier: Apache-2.0 */
/* --json: results for programs. json_report.c needs json-c; json_absent.c takes its place without. */
#ifndef TINYVMM_JSON_REPORT_H
#define TINYVMM_JSON_REPORT_H

struct report;

/* 0, or -1 after a complaint: built without json-c. */
int json_available(void);

/* Writes the report to `path`. 0, or -1 after a complaint. */
int json_write(const struct report *report, const char *path);

#endif
