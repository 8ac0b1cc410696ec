/* SPDX-License-Identifier: Apache-2.0 */
/* Guests written in C (tests/kvm/guest), in the memory of a kvm_fixture. */
#ifndef VDB_TEST_GUEST_IMAGE_H
#define VDB_TEST_GUEST_IMAGE_H

#include "kvm_fixture.h"

/* Declares the image that the test's head asks for: GUEST: name. */
#define GUEST_IMAGE(name) extern const unsigned char name##_guest[], name##_guest_end[]

/* Copies the image and makes vCPU 0 start in it: guest_main(arg, 0, 0). `kernel`: with interrupts. */
#define LOAD_IMAGE(f, name, kernel, arg) guest_image_load(f, name##_guest, name##_guest_end, kernel, arg)
void guest_image_load(struct kvm_fixture *f, const unsigned char *image, const unsigned char *end,
                      bool kernel, uint64_t arg);

#endif
