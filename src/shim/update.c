/* SPDX-License-Identifier: Apache-2.0 */
/* Other limits, and another restart policy, while the container runs. */
#include <errno.h>
#include <stdlib.h>

#include "base/mem.h"
#include "proto/msg.h"
#include "shim/session.h"
#include "shim/shim.h"

static int refuse(struct client *client, int code, const char *message)
{
	server_send_error(client, code, 125, message);
	server_drop(client);
	return 0;
}

/* What the machine has is all that there is to give. */
static char *too_much(const struct shim *shim, const struct config_limits *limits)
{
	AUTO_FREE char *size = NULL;

	if (limits->cpu_hundredths > shim->launch.vcpus * 100)
		return xasprintf("the machine of container %s has %u CPUs; stop it to give it more",
				 shim->container->config.id, shim->launch.vcpus);
	if (limits->memory_bytes <= shim->launch.memory_bytes)
		return NULL;
	size = str_size(shim->launch.memory_bytes);
	return xasprintf("the machine of container %s has %s; stop it to give it more",
			 shim->container->config.id, size);
}

int update_on_request(struct client *client, const uint8_t *data, size_t size)
{
	struct shim *shim = client->shim;
	AUTO_SBUF struct sbuf out = { 0 };
	AUTO_FREE char *problem = NULL;
	struct config_limits limits;
	struct msg_limits told;
	struct err err = { 0 };
	int r = ctl_update_decode(data, size, &limits);

	if (r < 0)
		return r;
	problem = too_much(shim, &limits);
	if (problem)
		return refuse(client, -EINVAL, problem);
	r = clerk_set_limits(shim->clerk, &limits, &err);
	if (r < 0)
		return refuse(client, r, err.message);
	config_set_limits(&shim->container->config, &limits);
	/* A guest that is not there yet, or any more, gets them with its session. */
	if (shim->guest && shim->phase == PHASE_RUNNING) {
		told = session_limits(&shim->container->config, &shim->launch);
		msg_limits_encode(&told, &out);
		mux_send_control(shim->guest, MSG_LIMITS, out.text, out.length);
	}
	server_send(client, CTL_OK, NULL);
	server_drop(client);
	return 0;
}
