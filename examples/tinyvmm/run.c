/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tinyvmm run`: the life of a VM, from top to bottom in run().
 *
 * Threads: this one makes, watches and ends everything; vcpu0, vcpu1, ... run the guest; loop0, loop1,
 * ... serve its devices.
 */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "firmware.h"
#include "json_report.h"
#include "layout.h"
#include "tinyvmm.h"
#include "values.h"
#include "wait.h"
#include "watch.h"

/* ---- Refusals: what the user wants must be there before the VM is ---- */

static int open_kvm(struct run *run)
{
	struct vdb_kvm_info info = {.size = sizeof(info)};

	if (vdb_kvm_open(NULL, &run->kvm) || vdb_kvm_query(run->kvm, &info))
		return complain("%s", vdb_errmsg());
	if (run->options.cpus > info.max_vcpus)
		return complain("--cpus %u: this host's KVM takes at most %u", run->options.cpus,
		                info.max_vcpus);
	return 0;
}

static int open_disks(struct run *run)
{
	for (uint32_t i = 0; i < run->options.disk_count; i++)
		if (disk_open(&run->options.disks[i]))
			return -1;
	return 0;
}

static int start_fs(struct run *run)
{
	return fs_start(&run->options);
}

static int open_nets(struct run *run)
{
	for (uint32_t i = 0; i < run->options.net_count; i++)
		if (net_open(&run->options.nets[i]))
			return -1;
	return 0;
}

static int open_pmems(struct run *run)
{
	for (uint32_t i = 0; i < run->options.pmem_count; i++)
		if (pmem_open(&run->options.pmems[i]))
			return -1;
	return 0;
}

/* What is written later, by whoever may open nothing then. */
static int open_outputs(struct run *run)
{
	const struct run_options *o = &run->options;

	if (o->json)
		run->json_fd = strcmp(o->json, "-") ? value_open("--json-stats", o->json) : STDOUT_FILENO;
	if (o->json && run->json_fd < 0)
		return -1;
	if (!o->serial_log)
		return 0;
	run->serial_log_fd = open(o->serial_log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return run->serial_log_fd < 0 ? complain("--serial-log %s: %s", o->serial_log, strerror(errno)) : 0;
}

/* What it opens at run time, and the children that it ends. */
static int begin_sandbox(struct run *run)
{
	const struct run_options *o = &run->options;

	if (o->limits)
		sandbox_folder(&run->sandbox, o->limits, VDB_SANDBOX_READ);
	if (*o->balloon.file)
		sandbox_folder(&run->sandbox, o->balloon.file, VDB_SANDBOX_READ);
	if (*o->vsock.path)
		sandbox_folder(&run->sandbox, o->vsock.path, VDB_SANDBOX_READ | VDB_SANDBOX_CREATE);
	for (uint32_t i = 0; i < o->fs_count; i++) {
		if (*o->fs[i].socket)
			sandbox_folder(&run->sandbox, o->fs[i].socket, VDB_SANDBOX_READ);
		if (o->fs[i].daemon)
			sandbox_child(&run->sandbox, (int)o->fs[i].daemon);
		run->sandbox.sockets |= *o->fs[i].socket;
	}
	run->sandbox.sockets |= *o->vsock.path;
	return sandbox_begin(&run->sandbox, &o->sandbox);
}

static int prepare(struct run *run)
{
	if (devices_check(&run->options) || limits_create(run) || open_kvm(run) || open_disks(run) ||
	    open_nets(run) || open_pmems(run) || open_outputs(run))
		return -1;
	return firmware_memory(run) || firmware_load(run) || start_fs(run) || begin_sandbox(run) ? -1 : 0;
}

/* ---- Setting up ---- */

static int start_loops(struct run *run)
{
	struct vdb_loop_config config = run->options.poll;

	config.size = sizeof(config);
	config.engine = run->options.engine;
	config.pool_threads = -1;
	if (run->options.pin_io) {
		config.io_cpus = &run->options.io_cpus;
		config.io_cpus_size = sizeof(run->options.io_cpus);
	}
	if (loops_start(&run->options.loops, &config, &run->loops))
		return -1;
	run->loop = vdb_loops_get(run->loops, 0);
	return 0;
}

static int event(void *arg, const struct vdb_event *event)
{
	struct run *run = arg;

	return ending_event(&run->ending, event);
}

static int make_vm(struct run *run)
{
	struct vdb_vm_config config = {.size = sizeof(config),
	                               .event = event,
	                               .event_arg = run,
	                               .doorbell_pages = 1,
	                               .doorbell_ports = 1,
	                               .flags = VDB_VM_PIT};

	if (vdb_vm_create(run->kvm, run->mem, &config, &run->vm) ||
	    vdb_cpuid_topology(run->vm, run->options.cpus))
		return complain("%s", vdb_errmsg());
	for (uint32_t i = 0; i < run->options.cpus; i++)
		if (vdb_vcpu_create(run->vm, i, &run->vcpus[i]) || vdb_boot_start(run->vcpus[i], &run->boot))
			return complain("vcpu%u: %s", i, vdb_errmsg());
	return 0;
}

static void quit(void *arg)
{
	struct run *run = arg;

	ending_set(&run->ending, TINYVMM_KILLED, "ended by Ctrl-A x");
}

/* Where the guest's console ends: this process's standard input and output. */
static int make_terminal(struct run *run)
{
	bool typed = isatty(STDIN_FILENO);
	int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	struct vdb_chardev_config config = {
	        .size = sizeof(config),
	        .out_fd = STDOUT_FILENO,
	        .in_fd = in < 0 ? 0 : in,
	        .filter = typed ? terminal_filter : NULL,
	        .arg = &run->escape,
	};
	int err;

	run->escape = (struct escape){.quit = quit, .arg = run};
	err = vdb_chardev_create(run->loop, &config, &run->terminal);
	if (in >= 0)
		close(in);
	return err ? complain("%s", vdb_errmsg()) : 0;
}

static int make_serial_log(struct run *run)
{
	struct vdb_chardev_config config = {.size = sizeof(config), .out_fd = run->serial_log_fd};

	if (!run->options.serial_log)
		return 0;
	return vdb_chardev_create(run->loop, &config, &run->serial_log)
	               ? complain("--serial-log %s: %s", run->options.serial_log, vdb_errmsg())
	               : 0;
}

static int make_platform(struct run *run)
{
	struct vdb_platform_config config = {
	        .size = sizeof(config), .parts = RUN_PLATFORM, .loop = run->loop};
	struct vdb_serial_config serial = {.size = sizeof(serial),
	                                   .gsi = LAYOUT_SERIAL_GSI,
	                                   .port = LAYOUT_SERIAL_PORT,
	                                   .chardev = run->options.console ? run->serial_log : run->terminal};

	if (vdb_platform_create(run->vm, &config, &run->platform) ||
	    vdb_serial_create(run->vm, &serial, &run->serial))
		return complain("%s", vdb_errmsg());
	return 0;
}

static int set_up(struct run *run)
{
	static int (*const steps[])(struct run *) = {start_loops,     make_vm,       make_terminal,
	                                             make_serial_log, make_platform, devices_create,
	                                             firmware_tables};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i](run))
			return -1;
	return 0;
}

/* ---- Running ---- */

static int start(struct run *run)
{
	terminal_enter();
	if (vdb_vm_pause(run->vm, NULL, NULL))
		return complain("%s", vdb_errmsg());
	for (uint32_t i = 0; i < run->options.cpus; i++)
		if (vdb_vcpu_start(run->vcpus[i], run->options.pins[i], NULL))
			return complain("vcpu%u: %s", i, vdb_errmsg());
	/* All threads are there. */
	if (sandbox_enter(&run->sandbox))
		return -1;
	return vdb_vm_resume(run->vm) ? complain("%s", vdb_errmsg()) : 0;
}

static void stop(struct run *run)
{
	struct vdb_gate *stopped = wait_begin();

	if (vdb_vm_stop(run->vm, wait_done, stopped))
		wait_refused(stopped);
	else
		wait_end(stopped);
}

/* Its life, and the exit status that tells how it ended. */
static int live(struct run *run)
{
	int failed = start(run);

	if (!failed)
		watch(run);
	stop(run);
	terminal_leave();
	if (failed)
		return TINYVMM_WRONG;
	complain("%s", run->ending.text);
	if (run->options.json && json_write_stats(run))
		return TINYVMM_WRONG;
	return run->ending.status;
}

/* ---- The end ---- */

static void destroy_vm(struct run *run)
{
	struct vdb_gate *gone = wait_begin();

	if (vdb_vm_destroy(run->vm, wait_done, gone))
		wait_refused(gone);
	else
		wait_end(gone);
}

static void destroy_chardev(struct vdb_chardev *chardev)
{
	struct vdb_gate *gone;

	if (!chardev)
		return;
	gone = wait_begin();
	vdb_chardev_destroy(chardev, wait_done, gone);
	wait_end(gone);
}

/* No vCPU runs: in the reverse order of set_up() and prepare(). */
static void tear_down(struct run *run)
{
	devices_destroy(run);
	fs_stop(&run->options);
	vdb_serial_destroy(run->serial);
	vdb_platform_destroy(run->platform);
	destroy_chardev(run->serial_log);
	destroy_chardev(run->terminal);
	if (run->vm)
		destroy_vm(run);
	loops_end(run->loops);
	if (vdb_mem_destroy(run->mem))
		complain("%s", vdb_errmsg());
	for (uint32_t i = 0; i < run->options.disk_count; i++)
		disk_close(&run->options.disks[i]);
	for (uint32_t i = 0; i < run->options.net_count; i++)
		net_close(&run->options.nets[i]);
	for (uint32_t i = 0; i < run->options.pmem_count; i++)
		pmem_close(&run->options.pmems[i]);
	limits_destroy(run);
	vdb_kvm_close(run->kvm);
	ending_destroy(&run->ending);
	if (run->signals >= 0)
		close(run->signals);
	if (run->json_fd > STDERR_FILENO)
		close(run->json_fd);
	if (run->serial_log_fd >= 0)
		close(run->serial_log_fd);
	sandbox_end(&run->sandbox);
}

static int run(int argc, char **argv)
{
	struct run run = {.signals = -1, .json_fd = -1, .serial_log_fd = -1};
	int status = TINYVMM_USAGE;

	if (run_options_parse(&run.options, argc, argv))
		return TINYVMM_USAGE;
	if (run.options.help) {
		run_options_help();
		return TINYVMM_OK;
	}
	if (!ending_create(&run.ending) && !prepare(&run)) {
		status = TINYVMM_WRONG;
		if (!watch_prepare(&run) && !set_up(&run))
			status = live(&run);
		else if (run.refused)
			status = TINYVMM_USAGE;
	}
	tear_down(&run);
	return status;
}

const struct command command_run = {
        .name = "run",
        .summary = "boot a kernel with disks, a console and a random number generator",
        .run = run,
};
