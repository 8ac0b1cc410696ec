/* SPDX-License-Identifier: Apache-2.0 */
/* What the library's sources call and Eva is not to follow. */
#ifndef PROOF_STUBS_H
#define PROOF_STUBS_H

#include "base/error.h"

int vdb__fail(int err, const char *fmt, ...)
{
	CLAIM(err > 0 && fmt);
	return -err;
}

int vdb__fail_sys(int err, const char *fmt, ...)
{
	CLAIM(fmt);
	return -err;
}

#endif
