/* SPDX-License-Identifier: Apache-2.0 */
#include "json_report.h"
#include "tinyvmm.h"

int json_available(const char *option)
{
	return complain("%s: this tinyvmm was built without json-c; install libjson-c-dev and build again",
	                option);
}

int json_write(const struct report *report, const char *path)
{
	(void)report;
	(void)path;
	return json_available("--json");
}

int json_write_stats(struct run *run, const char *path)
{
	(void)run;
	(void)path;
	return json_available("--json-stats");
}
