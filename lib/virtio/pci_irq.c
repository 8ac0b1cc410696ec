/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of a virtio-pci device (virtio 1.2, 4.1.4.5 and 4.1.5.1.2): a message if the guest has enabled
 * MSI-X, else INTx, which is up for as long as the ISR has a cause.
 */
#include "base/atomic.h"
#include "virtio/pci.h"

#define ISR_QUEUE 1u
#define ISR_CONFIG 2u

uint16_t vdb__vpci_vector(const struct vdb_virtio_pci *vpci, uint16_t wanted)
{
	return wanted < vpci->vectors ? wanted : VIRTIO_MSI_NO_VECTOR;
}

static void raise_cause(struct vdb_virtio_pci *vpci, uint8_t cause)
{
	pthread_mutex_lock(&vpci->isr_lock);
	vpci->isr |= cause;
	vdb__pci_intx(&vpci->function, true);
	pthread_mutex_unlock(&vpci->isr_lock);
}

uint8_t vdb__vpci_isr_take(struct vdb_virtio_pci *vpci)
{
	uint8_t isr;

	pthread_mutex_lock(&vpci->isr_lock);
	isr = vpci->isr;
	vpci->isr = 0;
	vdb__pci_intx(&vpci->function, false);
	pthread_mutex_unlock(&vpci->isr_lock);
	return isr;
}

static void raise(struct vdb_virtio_pci *vpci, const uint16_t *vector, uint8_t cause)
{
	if (vdb__pci_msix_on(&vpci->function))
		vdb__msix_raise(vpci->function.msix, vdb__load(vector));
	else
		raise_cause(vpci, cause);
}

static void queue_interrupt(void *arg, uint32_t queue)
{
	struct vdb_virtio_pci *vpci = arg;

	raise(vpci, &vpci->queue[queue].vector, ISR_QUEUE);
}

static void config_interrupt(void *arg)
{
	struct vdb_virtio_pci *vpci = arg;

	raise(vpci, &vpci->config_vector, ISR_CONFIG);
}

static int kick_fd(void *arg, uint32_t queue)
{
	const struct vdb_virtio_pci *vpci = arg;

	return vdb_bell_fd(vpci->queue[queue].page);
}

/* MSI-X's table is the PCI function's: a virtio reset leaves it. */
static void forget(void *arg)
{
	struct vdb_virtio_pci *vpci = arg;

	vdb__store(&vpci->device_feature_select, 0u);
	vdb__store(&vpci->driver_feature_select, 0u);
	vdb__store(&vpci->queue_select, (uint16_t)0);
	vdb__store(&vpci->config_vector, (uint16_t)VIRTIO_MSI_NO_VECTOR);
	for (uint32_t i = 0; i < vpci->queues; i++)
		vdb__store(&vpci->queue[i].vector, (uint16_t)VIRTIO_MSI_NO_VECTOR);
	(void)vdb__vpci_isr_take(vpci);
}

const struct vdb__transport_ops vdb__vpci_transport = {
        .queue_interrupt = queue_interrupt,
        .config_interrupt = config_interrupt,
        .kick_fd = kick_fd,
        .reset = forget,
};
