/* SPDX-License-Identifier: Apache-2.0 */
/* Messages to a vhost-user back end and their answers, one at a time; and what it says by itself. */
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost/user.h"

static int send_message(struct vdb__user *user, uint32_t request, uint32_t flags, const void *payload,
                        uint32_t len, const int *fds, uint32_t nfds, uint64_t deadline)
{
	struct vdb__wire_message message = {
	        .header = {.request = request, .flags = VDB__WIRE_VERSION | flags, .size = len},
	        .nfds = nfds};

	if (len)
		memcpy(message.payload, payload, len);
	if (nfds)
		memcpy(message.fds, fds, nfds * sizeof(*fds));
	return vdb__wire_send(user->sock, &message, deadline);
}

/* The back end may want something itself before it answers. */
static int receive_answer(struct vdb__user *user, uint32_t request, struct vdb__wire_message *answer,
                          uint64_t deadline)
{
	int rc;

	while ((rc = vdb__wire_receive(user->sock, user->channel, answer, deadline)) == 1) {
		rc = vdb__user_channel(user, deadline);
		if (rc)
			return rc;
	}
	if (rc)
		return rc;
	if (answer->header.request == request && answer->header.flags & VDB__WIRE_REPLY)
		return 0;
	vdb__wire_drop_fds(answer);
	return vdb__fail(EPROTO, "%s: the back end was asked %u, and answers %u", user->name, request,
	                 answer->header.request);
}

int vdb__user_ask(struct vdb__user *user, uint32_t request, const void *payload, uint32_t payload_len,
                  void *answer, uint32_t len, int *fd)
{
	uint64_t deadline = vdb__wire_deadline(user->timeout_ms);
	struct vdb__wire_message message;
	int rc = send_message(user, request, 0, payload, payload_len, NULL, 0, deadline);

	if (!rc)
		rc = receive_answer(user, request, &message, deadline);
	if (rc)
		return rc;
	if (message.header.size == len && message.nfds == (fd ? 1u : 0u)) {
		memcpy(answer, message.payload, len);
		if (fd)
			*fd = message.fds[0];
		return 0;
	}
	vdb__wire_drop_fds(&message);
	return vdb__fail(EPROTO,
	                 "%s: the back end's answer to %u has %u bytes and %u fds; not what it should",
	                 user->name, request, message.header.size, message.nfds);
}

int vdb__user_ask64(struct vdb__user *user, uint32_t request, uint64_t *value)
{
	return vdb__user_ask(user, request, NULL, 0, value, sizeof(*value), NULL);
}

/* With REPLY_ACK every message that has no answer of its own has this one. */
static int receive_ack(struct vdb__user *user, uint32_t request, uint64_t deadline)
{
	struct vdb__wire_message message;
	uint64_t result;
	int rc = receive_answer(user, request, &message, deadline);

	if (rc)
		return rc;
	vdb__wire_drop_fds(&message);
	if (message.header.size != sizeof(result))
		return vdb__fail(EPROTO, "%s: the back end acknowledges %u with %u bytes", user->name,
		                 request, message.header.size);
	memcpy(&result, message.payload, sizeof(result));
	return result ? vdb__fail(EREMOTEIO, "%s: the back end refuses request %u", user->name, request) : 0;
}

int vdb__user_say(struct vdb__user *user, uint32_t request, const void *payload, uint32_t len, const int *fds,
                  uint32_t nfds)
{
	uint64_t deadline = vdb__wire_deadline(user->timeout_ms);
	bool ack = vdb__user_has(user, VDB__USER_P_REPLY_ACK);
	int rc = send_message(user, request, ack ? VDB__WIRE_NEED_REPLY : 0, payload, len, fds, nfds,
	                      deadline);

	return rc || !ack ? rc : receive_ack(user, request, deadline);
}

/* ---- The back end's channel ---- */

static int reply(struct vdb__user *user, const struct vdb__wire_message *to, uint64_t result,
                 uint64_t deadline)
{
	struct vdb__wire_message message = {.header = {.request = to->header.request,
	                                               .flags = VDB__WIRE_VERSION | VDB__WIRE_REPLY,
	                                               .size = sizeof(result)}};

	if (!(to->header.flags & VDB__WIRE_NEED_REPLY))
		return 0;
	memcpy(message.payload, &result, sizeof(result));
	return vdb__wire_send(user->channel, &message, deadline);
}

static void close_channel(struct vdb__user *user)
{
	close(user->channel);
	user->channel = -1;
}

/* Everything but a notice of a new config space is refused. A channel that the back end closes is not needed.
 */
int vdb__user_channel(struct vdb__user *user, uint64_t deadline)
{
	struct vdb__wire_message message;
	int rc = vdb__wire_receive(user->channel, -1, &message, deadline);
	bool known;

	if (rc == -ECONNRESET) {
		close_channel(user);
		return 0;
	}
	if (rc)
		return rc;
	vdb__wire_drop_fds(&message);
	known = message.header.request == VDB__USER_CHANNEL_CONFIG_CHANGE && user->asked;
	if (known) {
		user->renewed = true;
		if (user->vhost) /* else vdb_vhost_user_create() is at work yet, and will */
			vdb__vhost_poke(user->vhost);
	}
	return reply(user, &message, !known, deadline);
}
