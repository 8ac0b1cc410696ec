/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvdb: virtual doorbells for virtual machine monitors on Linux/KVM.
 *
 * This header includes all the others but vdb/guest.h, which is for guests.
 */
#ifndef VDB_VDB_H
#define VDB_VDB_H

#include <vdb/abi.h>
#include <vdb/acpi.h>
#include <vdb/backend.h>
#include <vdb/balloon.h>
#include <vdb/bell.h>
#include <vdb/blk.h>
#include <vdb/boot.h>
#include <vdb/bus.h>
#include <vdb/cable.h>
#include <vdb/caps.h>
#include <vdb/chardev.h>
#include <vdb/console.h>
#include <vdb/cpuid.h>
#include <vdb/doorbell.h>
#include <vdb/error.h>
#include <vdb/fs.h>
#include <vdb/gate.h>
#include <vdb/io.h>
#include <vdb/irq.h>
#include <vdb/kvm.h>
#include <vdb/lane.h>
#include <vdb/limit.h>
#include <vdb/line.h>
#include <vdb/loop.h>
#include <vdb/loops.h>
#include <vdb/mem.h>
#include <vdb/net.h>
#include <vdb/netdev.h>
#include <vdb/netsock.h>
#include <vdb/pci.h>
#include <vdb/platform.h>
#include <vdb/pmem.h>
#include <vdb/ring.h>
#include <vdb/rng.h>
#include <vdb/sandbox.h>
#include <vdb/serial.h>
#include <vdb/switch.h>
#include <vdb/tap.h>
#include <vdb/types.h>
#include <vdb/vcpu.h>
#include <vdb/vhost_net.h>
#include <vdb/vhost_user.h>
#include <vdb/vhost_vsock.h>
#include <vdb/virtio.h>
#include <vdb/virtio_mmio.h>
#include <vdb/virtio_pci.h>
#include <vdb/virtq.h>
#include <vdb/vm.h>
#include <vdb/vsock.h>
#include <vdb/worker.h>
#include <vdb/x86.h>

#endif
