/* SPDX-License-Identifier: Apache-2.0 */
#include "json_report.h"
#include "tinyvmm.h"

int json_available(const char *option)
{
	return complain("%s: this tinyvmm was built without json-c; install libjson-c-dev and build again",
	                option);
}

int json_write(const struct report *report, int fd, const char *path)
{
	(void)report;
	(void)fd;
	(void)path;
	return json_available("--json");
}

int json_write_stats(struct run *run)
{
	(void)run;
	return json_available("--json-stats");
}
