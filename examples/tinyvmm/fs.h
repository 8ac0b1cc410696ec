/* SPDX-License-Identifier: Apache-2.0 */
/* --fs: a folder of the host in the guest, by virtiofsd, which runs already or is started here. */
#ifndef TINYVMM_FS_H
#define TINYVMM_FS_H

#include <stdint.h>
#include <sys/types.h>

struct device;
struct run;
struct run_options;

#define FS_MAX 4u

struct fs {
	char tag[40];     /* longer than it may be, which the library says */
	char socket[256]; /* of virtiofsd; "": it is started for dir */
	char dir[4096];
	pid_t daemon;   /* 0: none of ours */
	int connection; /* to that; 0: none, or it has been handed over */
};

/* Takes the text behind --fs. 0, or -1 after a complaint. */
int fs_parse(struct fs *fs, const char *text);

/* Starts what is to be started. 0, or -1 after a complaint; fs_stop() cleans up in both cases. */
int fs_start(struct run_options *options);

/* As devices.c makes devices. */
uint32_t fs_count(const struct run_options *options);
int fs_create(struct run *run, struct device *device, uint32_t index);

/* After the devices: ends what was started. */
void fs_stop(struct run_options *options);

#endif
