/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "loop/state.h"
int vdb__epoll_create(struct vdb_loop *loop, struct vdb__engine **out)
{
	(void)loop;
	(void)out;
	return vdb__fail(ENOSYS, "loop: no epoll");
}
