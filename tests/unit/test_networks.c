/* SPDX-License-Identifier: Apache-2.0 */
/* Subnets, networks, leases, and which subnet a new network gets. */
#include "test.h"

#include <errno.h>

#include "base/json.h"
#include "base/str.h"
#include "engine/routes.h"
#include "store/containers.h"
#include "store/networks.h"

static struct subnet subnet(const char *text)
{
	struct subnet result;

	assert_int_equal(subnet_parse(text, &result, NULL), 0);
	return result;
}

static void test_subnets_are_read_and_written(void **state)
{
	static const char *const bad[] = { "",           "10.0.0.0",  "10.0.0.0/33", "10.0.0/24",
					   "fd00::/129", "fd00::/-1", "10.0.0.0/",   "x/24" };
	char text[SUBNET_TEXT_MAX];
	struct subnet net = subnet("10.1.2.77/24");

	subnet_text(&net, text);
	assert_string_equal(text, "10.1.2.0/24");
	net = subnet("fd12:3456::1:2/64");
	subnet_text(&net, text);
	assert_string_equal(text, "fd12:3456::/64");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(subnet_parse(bad[i], &net, NULL), -EINVAL);
}

static void test_subnets_overlap(void **state)
{
	struct subnet a = subnet("10.1.0.0/16");
	struct subnet b = subnet("10.1.2.0/24");
	struct subnet c = subnet("10.2.0.0/16");
	struct subnet d = subnet("fd00::/8");
	struct subnet e = subnet("fd12:3456::/64");

	assert_true(subnet_overlaps(&a, &b));
	assert_true(subnet_overlaps(&b, &a));
	assert_false(subnet_overlaps(&a, &c));
	assert_true(subnet_overlaps(&d, &e));
	assert_false(subnet_overlaps(&a, &d));
}

static void test_hosts_of_a_subnet(void **state)
{
	struct subnet net = subnet("10.1.2.0/24");
	struct subnet wide = subnet("10.0.0.0/8");
	struct subnet six = subnet("fd12:3456::/64");
	char text[INET6_ADDRSTRLEN];
	uint32_t host = 0;

	subnet_host_text(&net, 4, text);
	assert_string_equal(text, "10.1.2.4");
	subnet_host_text(&wide, 65534, text);
	assert_string_equal(text, "10.0.255.254");
	subnet_host_text(&six, 260, text);
	assert_string_equal(text, "fd12:3456::104");
	assert_int_equal(subnet_last_host(&net), 254);
	assert_int_equal(subnet_find_host(&net, "10.1.2.200", &host, NULL), 0);
	assert_int_equal(host, 200);
	assert_int_equal(subnet_find_host(&six, "fd12:3456::104", &host, NULL), 0);
	assert_int_equal(host, 260);
	assert_int_equal(subnet_find_host(&net, "10.1.3.4", &host, NULL), -EINVAL);
	assert_int_equal(subnet_find_host(&net, "10.1.2.1", &host, NULL), -EINVAL); /* gateway */
	assert_int_equal(subnet_find_host(&net, "10.1.2.3", &host, NULL), -EINVAL); /* names */
	assert_int_equal(subnet_find_host(&net, "10.1.2.255", &host, NULL), -EINVAL);
	assert_int_equal(subnet_find_host(&net, "fd12:3456::4", &host, NULL), -EINVAL);
	assert_int_equal(subnet_find_host(&six, "fd12:3456::1:0:4", &host, NULL), -EINVAL);
}

/* --- routes --- */

static void test_routes_of_the_host_are_understood(void **state)
{
	static const char v4[] = "Iface\tDestination\tGateway "
				 "\tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
				 "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
				 "eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
				 "tun0\t0040A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
				 "garbage\n";
	static const char v6[] =
		"fd120000000000000000000000000000 10 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
		"00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
		"short\n";
	CLEANUP(subnets_release) struct subnets routes = { 0 };
	char text[SUBNET_TEXT_MAX];

	routes_parse_ipv4(v4, &routes);
	assert_int_equal(routes.count, 2);
	subnet_text(&routes.items[0], text);
	assert_string_equal(text, "172.17.0.0/16");
	subnet_text(&routes.items[1], text);
	assert_string_equal(text, "192.168.64.0/24");
	routes_parse_ipv6(v6, &routes);
	assert_int_equal(routes.count, 3);
	subnet_text(&routes.items[2], text);
	assert_string_equal(text, "fd12::/16");
}

static void test_a_free_subnet_is_chosen(void **state)
{
	CLEANUP(subnets_release) struct subnets taken = { 0 };
	char text[SUBNET_TEXT_MAX];
	struct subnet net;

	assert_int_equal(subnets_choose_ipv4(&taken, &net, NULL), 0);
	subnet_text(&net, text);
	assert_string_equal(text, "192.168.64.0/24");
	VEC_PUSH(&taken, subnet("192.168.64.0/23"));
	assert_int_equal(subnets_choose_ipv4(&taken, &net, NULL), 0);
	subnet_text(&net, text);
	assert_string_equal(text, "192.168.66.0/24");
	VEC_PUSH(&taken, subnet("192.168.0.0/16"));
	assert_int_equal(subnets_choose_ipv4(&taken, &net, NULL), 0);
	subnet_text(&net, text);
	assert_string_equal(text, "10.64.0.0/24");
	VEC_PUSH(&taken, subnet("10.0.0.0/8"));
	assert_int_equal(subnets_choose_ipv4(&taken, &net, NULL), -EADDRNOTAVAIL);
	assert_int_equal(subnets_choose_ipv6(&taken, &net, NULL), 0);
	assert_int_equal(net.bytes[0], 0xfd);
	assert_int_equal(net.prefix, 64);
	VEC_PUSH(&taken, subnet("fd00::/8"));
	assert_int_equal(subnets_choose_ipv6(&taken, &net, NULL), -EADDRNOTAVAIL);
}

/* --- the store --- */

static struct network example(const char *name, const char *v4, const char *v6)
{
	struct network network = { .name = (char *)name, .subnet = subnet(v4) };

	if (v6)
		network.subnet6 = subnet(v6);
	return network;
}

static void add_container(struct store *store, const char *uuid, const char *id)
{
	CLEANUP(container_freep) struct container *container = calloc(1, sizeof(*container));

	container_config_init(&container->config);
	snprintf(container->uuid, sizeof(container->uuid), "%s", uuid);
	container->config.id = strdup(id);
	assert_int_equal(containers_insert(store, container, NULL), 0);
}

static void test_networks_are_kept(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(network_list_release) struct network_list list = { 0 };
	CLEANUP(network_release) struct network read = { 0 };
	AUTO_JSON json_t *labels = json_pack("{s:s}", "tier", "back");
	struct network network = example("back", "10.1.2.0/24", "fd12::/64");
	struct err err = { 0 };

	assert_int_equal(store_open(*state, &store, NULL), 0);
	network.internal = true;
	network.labels = labels;
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	assert_int_equal(networks_insert(store, &network, &err), -EEXIST);
	assert_string_equal(err.message, "network back already exists");
	network = example("alpha", "10.1.3.0/24", NULL);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	assert_int_equal(networks_get(store, "back", &read, NULL), 0);
	assert_true(read.internal);
	assert_string_equal(json_get_string(read.labels, "tier"), "back");
	assert_int_equal(json_object_size(read.options), 0);
	assert_true(read.created_at > 0);
	assert_int_equal(networks_list(store, &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].name, "alpha");
	assert_int_equal(list.items[0].subnet6.family, 0);
	assert_int_equal(networks_get(store, "nix", &read, &err), -ENOENT);
	assert_string_equal(err.message, "network not found: nix");
	assert_int_equal(networks_delete(store, "nix", &err), -ENOENT);
	assert_int_equal(networks_delete(store, "alpha", NULL), 0);
}

static uint32_t take(struct store *store, const struct network *network, const char *uuid,
		     const char *address)
{
	CLEANUP(lease_release) struct lease lease = { 0 };
	const struct lease_wish wish = { .address = address };

	assert_int_equal(leases_take(store, network, uuid, &wish, &lease, NULL), 0);
	return lease.host;
}

static void test_leases_stay_until_their_container_goes(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(lease_list_release) struct lease_list list = { 0 };
	CLEANUP(lease_release) struct lease lease = { 0 };
	struct network network = example("back", "10.1.2.0/24", "fd12::/64");
	struct lease_wish wish = { .address = "10.1.2.9" };
	struct err err = { 0 };

	assert_int_equal(store_open(*state, &store, NULL), 0);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	add_container(store, "uuid-a", "web");
	add_container(store, "uuid-b", "db");
	assert_int_equal(take(store, &network, "uuid-a", NULL), 4);
	assert_int_equal(take(store, &network, "uuid-a", "10.1.2.77"), 4); /* has one */
	assert_int_equal(take(store, &network, "uuid-b", "fd12::9"), 9);
	add_container(store, "uuid-c", "third");
	assert_int_equal(leases_take(store, &network, "uuid-c", &wish, &lease, &err), -EADDRINUSE);
	assert_string_equal(err.message, "address 10.1.2.9 is used by container db");
	wish = (struct lease_wish){ .address = "10.1.3.9" };
	assert_int_equal(leases_take(store, &network, "uuid-c", &wish, &lease, &err), -EINVAL);
	assert_int_equal(take(store, &network, "uuid-c", NULL), 10);
	assert_int_equal(networks_delete(store, "back", &err), -EBUSY);
	assert_string_equal(err.message, "network back is used by web, db, third");
	assert_int_equal(containers_delete(store, "uuid-b", NULL), 0);
	assert_int_equal(leases_list(store, NULL, "back", &list, NULL), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[1].container_id, "third");
	assert_int_equal(leases_drop(store, "back", "uuid-a", NULL), 0);
	assert_int_equal(leases_drop(store, "back", "uuid-a", NULL), -ENOENT);
	assert_int_equal(containers_delete(store, "uuid-c", NULL), 0);
	assert_int_equal(networks_delete(store, "back", NULL), 0);
	/* A container that is not there gets none. */
	network = example("next", "10.1.4.0/24", NULL);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	wish = (struct lease_wish){ 0 };
	assert_true(leases_take(store, &network, "uuid-x", &wish, &lease, NULL) < 0);
}

static void test_macs_are_wished_or_made(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(lease_release) struct lease a = { 0 };
	CLEANUP(lease_release) struct lease b = { 0 };
	CLEANUP(lease_release) struct lease again = { 0 };
	struct network network = example("back", "10.1.2.0/24", NULL);
	struct lease_wish wish = { .mac = "02:00:00:00:00:77" };
	struct err err = { 0 };

	assert_int_equal(store_open(*state, &store, NULL), 0);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	add_container(store, "uuid-a", "web");
	add_container(store, "uuid-b", "db");
	assert_int_equal(leases_take(store, &network, "uuid-a", &wish, &a, NULL), 0);
	assert_string_equal(a.mac, "02:00:00:00:00:77");
	assert_int_equal(leases_take(store, &network, "uuid-b", &wish, &b, &err), -EADDRINUSE);
	wish.mac = NULL;
	assert_int_equal(leases_take(store, &network, "uuid-b", &wish, &b, NULL), 0);
	assert_true(str_starts(b.mac, "02:"));
	assert_int_equal(leases_drop(store, "back", "uuid-b", NULL), 0);
	assert_int_equal(leases_take(store, &network, "uuid-b", &wish, &again, NULL), 0);
	assert_string_equal(again.mac, b.mac);
}

static void test_a_full_network_has_no_address(void **state)
{
	CLEANUP(store_closep) struct store *store = NULL;
	CLEANUP(lease_release) struct lease lease = { 0 };
	struct network network = example("tiny", "10.1.2.0/29", NULL); /* hosts 4, 5, 6 */
	struct lease_wish wish = { 0 };

	assert_int_equal(store_open(*state, &store, NULL), 0);
	assert_int_equal(networks_insert(store, &network, NULL), 0);
	add_container(store, "uuid-a", "aa");
	add_container(store, "uuid-b", "bb");
	add_container(store, "uuid-c", "cc");
	add_container(store, "uuid-d", "dd");
	assert_int_equal(take(store, &network, "uuid-a", NULL), 4);
	assert_int_equal(take(store, &network, "uuid-b", NULL), 5);
	assert_int_equal(take(store, &network, "uuid-c", NULL), 6);
	assert_int_equal(leases_take(store, &network, "uuid-d", &wish, &lease, NULL), -ENOSPC);
	assert_int_equal(containers_delete(store, "uuid-b", NULL), 0);
	assert_int_equal(take(store, &network, "uuid-d", NULL), 5); /* the gap */
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subnets_are_read_and_written),
		cmocka_unit_test(test_subnets_overlap),
		cmocka_unit_test(test_hosts_of_a_subnet),
		cmocka_unit_test(test_routes_of_the_host_are_understood),
		cmocka_unit_test(test_a_free_subnet_is_chosen),
		TEST_IN_DIR(test_networks_are_kept),
		TEST_IN_DIR(test_leases_stay_until_their_container_goes),
		TEST_IN_DIR(test_macs_are_wished_or_made),
		TEST_IN_DIR(test_a_full_network_has_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
