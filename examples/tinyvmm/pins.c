/* SPDX-License-Identifier: Apache-2.0 */
#include "pins.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run_options.h"
#include "tinyvmm.h"
#include "values.h"

int pins_cpu(const char *what, const char *text, int32_t *pin)
{
	uint32_t cpu = 0;
	cpu_set_t *set = CPU_ALLOC(65536);
	size_t bytes = CPU_ALLOC_SIZE(65536);
	bool there;

	if (!set)
		return complain("%s: no memory", what);
	CPU_ZERO_S(bytes, set);
	there = !value_number32(what, text, 0, 65535, &cpu);
	if (there && (sched_getaffinity(0, bytes, set) || !CPU_ISSET_S(cpu, bytes, set)))
		there = complain("%s=%u: this process has no CPU %u; `taskset -p $$` tells which", what, cpu,
		                 cpu) == 0;
	CPU_FREE(set);
	*pin = (int32_t)cpu;
	return there ? 0 : -1;
}

static int host_cpu(const char *thread, const char *text, int *pin)
{
	char what[48];

	snprintf(what, sizeof(what), "--pin %s", thread);
	return pins_cpu(what, text, pin);
}

static int *pin_of(struct run_options *options, const char *thread)
{
	uint32_t index = 0;

	if (!strcmp(thread, "loop"))
		return &options->pin_loop;
	if (strncmp(thread, "vcpu", 4) != 0 ||
	    value_number32("--pin vcpu", thread + 4, 0, RUN_MAX_CPUS - 1, &index))
		return NULL;
	return &options->pins[index];
}

/* One more of theirs. */
static int take_io(struct run_options *options, const char *text)
{
	int cpu = 0;

	if (host_cpu("io", text, &cpu))
		return -1;
	CPU_SET((size_t)cpu, &options->io_cpus);
	options->pin_io = true;
	return 0;
}

static int take(struct run_options *options, char *part)
{
	char *value = strchr(part, '=');
	int *pin;

	if (!value ||
	    (strncmp(part, "vcpu", 4) != 0 && strncmp(part, "loop=", 5) != 0 && strncmp(part, "io=", 3) != 0))
		return complain("--pin %s: must be like vcpu0=CPU, loop=CPU or io=CPU", part);
	*value++ = '\0';
	if (!strcmp(part, "io"))
		return take_io(options, value);
	pin = pin_of(options, part);
	return pin ? host_cpu(part, value, pin) : -1;
}

int pins_parse(struct run_options *options, const char *text)
{
	char copy[4096], *save = NULL;

	if (!*text || strlen(text) >= sizeof(copy))
		return complain("--pin %.40s: must be like vcpu0=CPU,loop=CPU", text);
	memcpy(copy, text, strlen(text) + 1);
	for (char *part = strtok_r(copy, ",", &save); part; part = strtok_r(NULL, ",", &save))
		if (take(options, part))
			return -1;
	return 0;
}
