/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/clerk_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define TIME_MAX INT64_C(253402300799) /* the end of the year 9999 */

json_t *clerk_row_to_json(const struct container *row)
{
	json_t *json = json_object();

	json_set_string(json, "uuid", row->uuid);
	json_object_set_new(json, "state", json_integer(row->state));
	json_object_set_new(json, "health", json_integer(row->health));
	json_object_set_new(json, "startedAt", json_integer(row->started_at));
	json_object_set_new(json, "finishedAt", json_integer(row->finished_at));
	if (row->has_exit_code)
		json_object_set_new(json, "exitCode", json_integer(row->exit_code));
	json_set_string(json, "error", row->error);
	return json;
}

/* What every command can show. */
static bool is_time(int64_t seconds)
{
	return seconds >= 0 && seconds <= TIME_MAX;
}

int clerk_row_from_json(const json_t *json, struct container *row)
{
	int64_t state = json_get_int(json, "state", -1);
	int64_t health = json_get_int(json, "health", -1);
	int64_t exit_code = json_get_int(json, "exitCode", 0);
	int64_t started_at = json_get_int(json, "startedAt", 0);
	int64_t finished_at = json_get_int(json, "finishedAt", 0);
	const char *error = json_get_string(json, "error");

	if (state < 0 || state >= CONTAINER_STATE_COUNT || health < 0 ||
	    health >= CONTAINER_HEALTH_COUNT || exit_code < INT32_MIN || exit_code > INT32_MAX ||
	    !is_time(started_at) || !is_time(finished_at) ||
	    (error && strlen(error) >= ERR_MESSAGE_MAX))
		return -EINVAL;
	row->state = (enum container_state)state;
	row->health = (enum container_health)health;
	row->started_at = started_at;
	row->finished_at = finished_at;
	row->has_exit_code = json_object_get(json, "exitCode");
	row->exit_code = (int32_t)exit_code;
	free(row->error);
	row->error = xstrdup(error);
	if (row->error)
		err_sanitize(row->error);
	return 0;
}

json_t *clerk_network_to_json(const struct network *network, const struct lease *lease)
{
	json_t *json = json_object();
	char text[SUBNET_TEXT_MAX];

	json_set_string(json, "name", network->name);
	json_object_set_new(json, "internal", json_boolean(network->internal));
	subnet_text(&network->subnet, text);
	json_set_string(json, "subnet", text);
	if (network->subnet6.family) {
		subnet_text(&network->subnet6, text);
		json_set_string(json, "subnet6", text);
	}
	json_object_set(json, "labels", network->labels);
	json_object_set(json, "options", network->options);
	json_object_set_new(json, "createdAt", json_integer(network->created_at));
	json_set_string(json, "uuid", lease->uuid);
	json_set_string(json, "containerId", lease->container_id);
	json_object_set_new(json, "host", json_integer(lease->host));
	json_set_string(json, "mac", lease->mac);
	return json;
}

int clerk_network_from_json(const json_t *json, struct network *network, struct lease *lease,
			    struct err *err)
{
	const char *subnet6 = json_get_string(json, "subnet6");
	int r = subnet_parse(str_or(json_get_string(json, "subnet"), ""), &network->subnet, err);

	if (r == 0 && subnet6)
		r = subnet_parse(subnet6, &network->subnet6, err);
	if (r < 0)
		return r;
	network->name = xstrdup(json_get_string(json, "name"));
	network->internal = json_get_bool(json, "internal", true);
	network->labels = json_incref(json_get_object(json, "labels"));
	network->options = json_incref(json_get_object(json, "options"));
	network->created_at = json_get_int(json, "createdAt", 0);
	snprintf(lease->uuid, sizeof(lease->uuid), "%s", str_or(json_get_string(json, "uuid"), ""));
	snprintf(lease->mac, sizeof(lease->mac), "%s", str_or(json_get_string(json, "mac"), ""));
	lease->container_id = xstrdup(json_get_string(json, "containerId"));
	lease->network = xstrdup(network->name);
	lease->host = (uint32_t)json_get_int(json, "host", 0);
	return 0;
}
