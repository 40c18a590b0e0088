/* SPDX-License-Identifier: Apache-2.0 */
/* A clerk is asked arbitrary things by the shim that it works for, of a row and in a network that
 * are there. The row can be read again after each. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/path.h"
#include "shim/clerk_desk.h"
#include "store/containers.h"
#include "store/networks.h"

#define OWN "11111111-2222-3333-4444-555555555555"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[64];
static struct desk *desk;

static void clean_up(void)
{
	desk = desk_close(desk);
	path_remove_tree(top, NULL);
}

static void fill(struct store *store)
{
	struct network network = { .name = (char *)"back",
				   .labels = json_object(),
				   .options = json_object() };
	struct container container = { .uuid = OWN };
	struct err err = { 0 };

	container_config_init(&container.config);
	container.config.id = xstrdup("own");
	container.config.process.executable = xstrdup("/bin/sh");
	VEC_PUSH(&container.config.networks,
		 ((struct network_config){ .network = xstrdup("back") }));
	VEC_PUSH(&container.config.ports,
		 ((struct port_config){ .host_address = xstrdup("127.0.0.1"),
					.container_port = 80,
					.proto = xstrdup("tcp"),
					.count = 1 }));
	if (subnet_parse("10.9.0.0/24", &network.subnet, &err) < 0 ||
	    networks_insert(store, &network, &err) < 0 ||
	    containers_insert(store, &container, &err) < 0) {
		fprintf(stderr, "%s\n", err.message);
		abort();
	}
	json_decref(network.labels);
	json_decref(network.options);
	container_config_release(&container.config);
}

static void set_up(void)
{
	CLEANUP(store_closep) struct store *store = NULL;

	snprintf(top, sizeof(top), "/tmp/hull-fuzz-clerk.XXXXXX");
	if (!mkdtemp(top) || store_open(top, &store, NULL) < 0)
		abort();
	atexit(clean_up);
	fill(store);
	if (desk_open(top, OWN, NULL, &desk, NULL) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_JSON json_t *request = NULL;
	AUTO_JSON json_t *answer = NULL;
	AUTO_JSON json_t *get = json_pack("{s:s}", "do", "get");
	AUTO_JSON json_t *row = NULL;

	if (!desk)
		set_up();
	if (json_parse((const char *)data, size, "a request", &request, NULL) < 0)
		return 0;
	desk_answer(desk, request, &answer, NULL);
	if (desk_answer(desk, get, &row, NULL) < 0)
		abort();
	return 0;
}
