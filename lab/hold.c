/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps two idle VMs open for as long as the lab's L1 runs, one with an in-kernel irqchip and one
 * without. KVM has static keys that follow its first and last VM or vCPU of a kind; each time one
 * toggles, L1 patches its own text on all CPUs, and QEMU's translator has been seen to hang on that.
 * Static and small: it is in every initramfs of the lab.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int hold(int kvm, int irqchip)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || (irqchip && ioctl(vm, KVM_CREATE_IRQCHIP)))
		return -1;
	return ioctl(vm, KVM_CREATE_VCPU, 0);
}

/* A VM belongs to the process that made it, so this is the one that stays. */
static void stay(int ready)
{
	int kvm = open("/dev/kvm", O_RDWR);

	if (kvm < 0 || hold(kvm, 1) < 0 || hold(kvm, 0) < 0) {
		fprintf(stderr, "hold: /dev/kvm: %s\n", strerror(errno));
		_exit(1);
	}
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
	for (;;)
		pause();
}

/* Ends, with 0, once the VMs are there. */
int main(void)
{
	int ready[2];
	pid_t pid;
	char byte;

	if (pipe(ready) || (pid = fork()) < 0)
		return 1;
	if (pid == 0) {
		close(ready[0]);
		setsid();
		stay(ready[1]);
	}
	close(ready[1]);
	return read(ready[0], &byte, 1) == 1 ? 0 : 1;
}
