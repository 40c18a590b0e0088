/* SPDX-License-Identifier: Apache-2.0 */
/* What a shim's clerk does for it, and what it does not. */
#include "test.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/landlock.h"
#include "base/path.h"
#include "base/str.h"
#include "net/client.h"
#include "shim/clerk.h"
#include "shim/clerk_desk.h"
#include "shim/launch.h"
#include "store/volumes.h"

#define OWN "11111111-2222-3333-4444-555555555555"
#define OTHER "99999999-2222-3333-4444-555555555555"

static void add_container(struct store *store, const char *uuid, const char *id, bool auto_remove)
{
	struct container container = { 0 };

	snprintf(container.uuid, sizeof(container.uuid), "%s", uuid);
	container_config_init(&container.config);
	container.config.id = xstrdup(id);
	container.config.auto_remove = auto_remove;
	container.config.process.executable = xstrdup("/bin/sh");
	strv_push(&container.config.process.environment, "SECRET=of-this-one");
	VEC_PUSH(&container.config.networks,
		 ((struct network_config){ .network = xstrdup("back"), .mtu = 1400 }));
	VEC_PUSH(&container.config.ports,
		 ((struct port_config){ .host_address = xstrdup("127.0.0.1"),
					.host_port = 8080,
					.container_port = 80,
					.proto = xstrdup("tcp"),
					.count = 1 }));
	VEC_PUSH(&container.config.ports,
		 ((struct port_config){ .host_address = xstrdup("127.0.0.1"),
					.container_port = 81,
					.proto = xstrdup("tcp"),
					.count = 1,
					.automatic = true }));
	assert_int_equal(containers_insert(store, &container, NULL), 0);
	container_config_release(&container.config);
}

static void add_network(struct store *store, const char *name, const char *subnet)
{
	struct network network = { .name = (char *)name,
				   .labels = json_object(),
				   .options = json_pack("{s:s}", "mtu", "1300") };

	assert_int_equal(subnet_parse(subnet, &network.subnet, NULL), 0);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	json_decref(network.labels);
	json_decref(network.options);
}

/* A store with our container and another one, in one network; and another network. Closed again: a
 * process that has the database open must not fork. */
static void stage(const char *dir)
{
	struct network network = { 0 };
	CLEANUP(store_closep) struct store *store = NULL;
	struct lease lease = { 0 };

	assert_int_equal(store_open(dir, &store, NULL), 0);
	add_container(store, OWN, "own", false);
	add_container(store, OTHER, "other", true);
	add_network(store, "back", "10.9.0.0/24");
	add_network(store, "front", "10.8.0.0/24");
	assert_int_equal(networks_get(store, "back", &network, NULL), 0);
	assert_int_equal(leases_take(store, &network, OWN, &(struct lease_wish){ 0 }, &lease, NULL),
			 0);
	network_release(&network);
	lease_release(&lease);
}

static struct container *row_of(const char *dir, const char *uuid)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct container *row = NULL;

	assert_int_equal(store_open(dir, &store, NULL), 0);
	return containers_get_uuid(store, uuid, &row, NULL) < 0 ? NULL : row;
}

/* What the desk of OWN says to the text. */
static int ask_desk(const char *root, const char *text)
{
	CLEANUP(desk_closep) struct desk *desk = NULL;
	AUTO_JSON json_t *request = NULL;
	AUTO_JSON json_t *answer = NULL;
	struct err err = { 0 };

	assert_int_equal(desk_open(root, OWN, NULL, &desk, NULL), 0);
	assert_int_equal(json_parse(text, strlen(text), "a request", &request, NULL), 0);
	return desk_answer(desk, request, &answer, &err);
}

static void test_its_own_row(void **state)
{
	CLEANUP(container_freep) struct container *row = NULL;
	CLEANUP(container_freep) struct container *written = NULL;
	CLEANUP(container_freep) struct container *other = NULL;
	CLEANUP(clerk_stopp) struct clerk *clerk = NULL;
	struct err err = { 0 };

	stage(*state);
	assert_int_equal(clerk_start(*state, OWN, NULL, &clerk, &err), 0);
	assert_int_equal(clerk_get(clerk, &row, &err), 0);
	assert_string_equal(row->uuid, OWN);
	assert_string_equal(row->config.id, "own");
	assert_string_equal(row->config.process.environment[0], "SECRET=of-this-one");
	assert_false(row->has_exit_code);

	row->state = CONTAINER_STOPPED;
	row->health = HEALTH_UNHEALTHY;
	row->started_at = 12;
	row->finished_at = 34;
	row->has_exit_code = true;
	row->exit_code = 137;
	row->error = xstrdup("it \"fell\"");
	assert_int_equal(clerk_set_state(clerk, row, &err), 0);
	assert_int_equal(clerk_set_limits(clerk,
					  &(struct config_limits){ .cpu_hundredths = 250,
								   .pids_limit = 9,
								   .restart = "always" },
					  &err),
			 0);
	written = row_of(*state, OWN);
	assert_int_equal(written->state, CONTAINER_STOPPED);
	assert_int_equal(written->health, HEALTH_UNHEALTHY);
	assert_int_equal(written->started_at, 12);
	assert_int_equal(written->finished_at, 34);
	assert_int_equal(written->exit_code, 137);
	assert_string_equal(written->error, "it \"fell\"");
	assert_int_equal(written->config.cpus, 3);
	assert_int_equal(written->config.cpu_percent, 250);
	assert_int_equal(written->config.pids_limit, 9);
	assert_string_equal(written->config.restart, "always");
	other = row_of(*state, OTHER);
	assert_int_equal(other->state, CONTAINER_CREATED);
	assert_null(other->config.restart);
}

static void test_ports_that_are_wishes(void **state)
{
	CLEANUP(container_freep) struct container *row = NULL;
	CLEANUP(container_freep) struct container *written = NULL;
	CLEANUP(clerk_stopp) struct clerk *clerk = NULL;

	stage(*state);
	assert_int_equal(clerk_start(*state, OWN, NULL, &clerk, NULL), 0);
	assert_int_equal(clerk_get(clerk, &row, NULL), 0);
	row->config.ports.items[1].host_port = 40000;
	assert_int_equal(clerk_set_ports(clerk, &row->config, NULL), 0);
	row->config.ports.items[0].host_port = 22;
	assert_int_equal(clerk_set_ports(clerk, &row->config, NULL), -EINVAL);
	written = row_of(*state, OWN);
	assert_int_equal(written->config.ports.items[0].host_port, 8080);
	assert_int_equal(written->config.ports.items[1].host_port, 40000);
}

static void test_networks_that_it_is_in(void **state)
{
	CLEANUP(network_release) struct network network = { 0 };
	CLEANUP(lease_release) struct lease lease = { 0 };
	CLEANUP(clerk_stopp) struct clerk *clerk = NULL;
	struct err err = { 0 };
	char text[SUBNET_TEXT_MAX];

	stage(*state);
	assert_int_equal(clerk_start(*state, OWN, NULL, &clerk, NULL), 0);
	assert_int_equal(clerk_get_network(clerk, "back", &network, &lease, &err), 0);
	subnet_text(&network.subnet, text);
	assert_string_equal(text, "10.9.0.0/24");
	assert_string_equal(json_string_value(json_object_get(network.options, "mtu")), "1300");
	assert_int_equal(lease.host, SUBNET_FIRST_HOST);
	assert_string_equal(lease.uuid, OWN);
	assert_int_equal(strlen(lease.mac), LEASE_MAC_LENGTH);
	assert_int_equal(clerk_get_network(clerk, "front", &network, &lease, &err), -EPERM);
	assert_string_equal(err.message, "the container is not in network front");
}

/* Who may not start networks asks one that does nothing else, for those that the row is in. */
static void test_a_starter_starts_its_networks(void **state)
{
	struct launch launch = { .root = *state, .uuid = (char *)OWN, .netd = getenv("HULL_NETD") };
	AUTO_FREE char *net = path_join(*state, "net");
	CLEANUP(container_freep) struct container *row = NULL;
	CLEANUP(clerk_stopp) struct clerk *starter = NULL;
	struct err err = { 0 };

	stage(*state);
	assert_int_equal(path_make_dirs(net, 0700, NULL), 0);
	assert_int_equal(clerk_start_starter(&launch, NULL, &starter, &err), 0);
	assert_int_equal(clerk_start_network(starter, "front", &err), -EPERM);
	assert_false(net_is_up(*state, "front"));
	assert_int_equal(clerk_get(starter, &row, NULL), -ENOSYS);
	err = (struct err){ 0 };
	assert_int_equal(clerk_start_network(starter, "back", &err), 0);
	assert_true(net_is_up(*state, "back"));
	for (int i = 0; i < 1000 && net_is_up(*state, "back"); i++)
		poll(NULL, 0, 10); /* nobody has joined it */
	assert_false(net_is_up(*state, "back"));
}

/* Before it confines itself, too: a program in its place has not the rights of who starts it. */
static void test_what_a_starter_starts_has_no_database(void **state)
{
	AUTO_FREE char *program = path_join(*state, "program");
	AUTO_FREE char *net = path_join(*state, "net");
	AUTO_FREE char *said = path_join(net, "said");
	AUTO_FREE char *script =
		xasprintf("#!/bin/sh\necho begun > '%s'\ncat '%s/hull.db' >> '%s'\n"
			  "ls -l /proc/self/fd >> '%s'\n",
			  said, (char *)*state, said, said);
	struct launch launch = { .root = *state, .uuid = (char *)OWN, .netd = program };
	AUTO_CLOSE int landlock = landlock_open(NULL, 0, NULL);
	CLEANUP(clerk_stopp) struct clerk *starter = NULL;
	AUTO_FREE char *text = NULL;

	if (landlock < 0)
		skip();
	stage(*state);
	assert_int_equal(path_make_dirs(net, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(program, script, strlen(script), 0755, false, NULL), 0);
	assert_int_equal(clerk_start_starter(&launch, NULL, &starter, NULL), 0);
	assert_int_equal(clerk_start_network(starter, "back", NULL), -ECONNREFUSED); /* ended */
	assert_int_equal(file_read(said, 65536, &text, NULL, NULL), 0);
	assert_true(str_starts(text, "begun\n"));
	assert_null(strstr(text, "SQLite format"));
	assert_null(strstr(text, "hull.db"));
}

static void test_only_one_that_removes_itself_is_removed(void **state)
{
	CLEANUP(container_freep) struct container *own = NULL;
	CLEANUP(container_freep) struct container *other = NULL;
	CLEANUP(clerk_stopp) struct clerk *clerk = NULL;
	CLEANUP(clerk_stopp) struct clerk *third = NULL;

	stage(*state);
	assert_int_equal(clerk_start(*state, OWN, NULL, &clerk, NULL), 0);
	assert_int_equal(clerk_delete(clerk, NULL), -EPERM);
	own = row_of(*state, OWN);
	assert_non_null(own);
	assert_int_equal(clerk_start(*state, OTHER, NULL, &third, NULL), 0);
	assert_int_equal(clerk_delete(third, NULL), 0);
	other = row_of(*state, OTHER);
	assert_null(other);
}

/* A shim that a guest has taken over says anything. */
static void test_what_is_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{ "{}", -ENOSYS },
		{ "[]", -ENOSYS },
		{ "{\"do\":7}", -ENOSYS },
		{ "{\"do\":\"drop\"}", -ENOSYS },
		{ "{\"do\":\"state\"}", -EINVAL },
		{ "{\"do\":\"state\",\"state\":99,\"health\":0}", -EINVAL },
		{ "{\"do\":\"state\",\"state\":1,\"health\":-1}", -EINVAL },
		{ "{\"do\":\"state\",\"state\":1,\"health\":0,\"exitCode\":3000000000}", -EINVAL },
		{ "{\"do\":\"state\",\"state\":1,\"health\":0,\"startedAt\":-1}", -EINVAL },
		{ "{\"do\":\"state\",\"state\":1,\"health\":0,\"finishedAt\":9000000000000000000}",
		  -EINVAL },
		{ "{\"do\":\"limits\",\"cpuHundredths\":-1}", -EINVAL },
		{ "{\"do\":\"limits\",\"cpuHundredths\":4294967296}", -EINVAL },
		{ "{\"do\":\"limits\",\"restart\":\""
		  "0123456789012345678901234567890123456789012345678901234567890123456789\"}",
		  -EINVAL },
		{ "{\"do\":\"ports\"}", -EINVAL },
		{ "{\"do\":\"ports\",\"ports\":[8081,1]}", -EINVAL },
		{ "{\"do\":\"ports\",\"ports\":[8080,65536]}", -EINVAL },
		{ "{\"do\":\"network\",\"name\":\"front\"}", -EPERM },
		{ "{\"do\":\"network\"}", -EPERM },
		{ "{\"do\":\"delete\"}", -EPERM },
		{ "{\"do\":\"start network\",\"name\":\"back\"}", -ENOSYS },
	};
	CLEANUP(container_freep) struct container *before = NULL;
	CLEANUP(container_freep) struct container *after = NULL;
	AUTO_JSON json_t *was = NULL;
	AUTO_JSON json_t *is = NULL;

	stage(*state);
	before = row_of(*state, OWN);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(ask_desk(*state, cases[i].text), cases[i].code);
	after = row_of(*state, OWN);
	assert_int_equal(after->state, before->state);
	assert_int_equal(after->started_at, before->started_at);
	was = container_config_to_json(&before->config);
	is = container_config_to_json(&after->config);
	assert_true(json_equal(was, is));
}

static void test_what_it_complains_of_is_text(void **state)
{
	CLEANUP(container_freep) struct container *row = NULL;
	AUTO_FREE char *text = xmalloc(2 * ERR_MESSAGE_MAX);

	stage(*state);
	assert_int_equal(ask_desk(*state, "{\"do\":\"state\",\"state\":1,\"health\":0,"
					  "\"error\":\"a\\u001b[2Jb\"}"),
			 0);
	row = row_of(*state, OWN);
	assert_null(strchr(row->error, '\033'));
	snprintf(text, 2 * ERR_MESSAGE_MAX,
		 "{\"do\":\"state\",\"state\":1,\"health\":0,\"error\":\"%0*d\"}", ERR_MESSAGE_MAX,
		 0);
	assert_int_equal(ask_desk(*state, text), -EINVAL);
}

static void test_a_row_that_is_not_there(void **state)
{
	CLEANUP(container_freep) struct container *row = NULL;
	CLEANUP(clerk_stopp) struct clerk *clerk = NULL;
	struct err err = { 0 };

	stage(*state);
	assert_int_equal(clerk_start(*state, "nobody", NULL, &clerk, NULL), 0);
	assert_int_equal(clerk_get(clerk, &row, &err), -ENOENT);
	assert_string_equal(err.message, "container not found: nobody");
	assert_int_equal(clerk_delete(clerk, NULL), -ENOENT);
	assert_int_equal(clerk_get(NULL, &row, NULL), -EPIPE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_its_own_row),
		TEST_IN_DIR(test_ports_that_are_wishes),
		TEST_IN_DIR(test_networks_that_it_is_in),
		TEST_IN_DIR(test_a_starter_starts_its_networks),
		TEST_IN_DIR(test_what_a_starter_starts_has_no_database),
		TEST_IN_DIR(test_only_one_that_removes_itself_is_removed),
		TEST_IN_DIR(test_what_is_refused),
		TEST_IN_DIR(test_what_it_complains_of_is_text),
		TEST_IN_DIR(test_a_row_that_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
