/* SPDX-License-Identifier: Apache-2.0 */
/* The words that say how a container is reached. */
#include "test.h"

#include <errno.h>

#include "base/str.h"
#include "cli/network_options.h"

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })

static struct container_config config;

static int config_setup(void **state)
{
	container_config_init(&config);
	return 0;
}

static int config_teardown(void **state)
{
	container_config_release(&config);
	return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, config_setup, config_teardown)

static void assert_port(size_t i, const char *address, uint32_t host, uint32_t container,
			uint32_t count, const char *proto, bool automatic)
{
	const struct port_config *port = &config.ports.items[i];

	assert_string_equal(port->host_address, address);
	assert_int_equal(port->host_port, host);
	assert_int_equal(port->container_port, container);
	assert_int_equal(port->count, count);
	assert_string_equal(port->proto, proto);
	assert_int_equal(port->automatic, automatic);
}

static void test_ports_are_read_in_every_form(void **state)
{
	assert_int_equal(parse_publish("8080:80", &config, NULL), 0);
	assert_port(0, "0.0.0.0", 8080, 80, 1, "tcp", false);
	assert_int_equal(parse_publish("127.0.0.1:5353:53/udp", &config, NULL), 0);
	assert_port(1, "127.0.0.1", 5353, 53, 1, "udp", false);
	assert_int_equal(parse_publish("[::1]:81:80", &config, NULL), 0);
	assert_port(2, "::1", 81, 80, 1, "tcp", false);
	assert_int_equal(parse_publish("8000-8010:9000-9010/tcp", &config, NULL), 0);
	assert_port(3, "0.0.0.0", 8000, 9000, 11, "tcp", false);
	assert_int_equal(parse_publish("80", &config, NULL), 0);
	assert_port(4, "0.0.0.0", 0, 80, 1, "tcp", true);
	assert_int_equal(parse_publish("127.0.0.1::443", &config, NULL), 0);
	assert_port(5, "127.0.0.1", 0, 443, 1, "tcp", true);
	assert_int_equal(parse_publish("[::]:82:82", &config, NULL), 0);
	assert_port(6, "::", 82, 82, 1, "tcp", false);
}

static void test_wrong_ports_are_refused(void **state)
{
	static const char *const bad[] = {
		"",      ":",       "0:80",          "65536:80",       "80:0",       "80:65536",
		"a:80",  "80:a",    "80:80/sctp",    "80:80/",         "1-2:1-3",    "9-8:9-8",
		"8-9",   "1:2:3:4", "localhost:1:1", "[::1]:80",       "::1:80:80",  "1.2.3:80:80",
		"-1:80", " 80:80",  "80:80/TCP",     "1.2.3.4:80-:80", "[::1:80:80",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_publish(bad[i], &config, NULL) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(config.ports.count, 0);
}

static int publish_both(const char *a, const char *b, struct err *err)
{
	const struct network_flags flags = { .publish = WORDS((char *)a, (char *)b) };

	container_config_release(&config);
	container_config_init(&config);
	return network_flags_apply(&flags, &config, err);
}

static void test_host_ports_may_not_overlap(void **state)
{
	struct err err = { 0 };

	assert_int_equal(publish_both("80:80", "80:81", &err), -EINVAL);
	assert_string_equal(err.message,
			    "host ports for different publish port specs may not overlap");
	assert_int_equal(publish_both("8000-8010:8000-8010", "127.0.0.1:8005:80", NULL), -EINVAL);
	assert_int_equal(publish_both("80:80", "80:80/udp", NULL), 0);
	assert_int_equal(publish_both("127.0.0.1:80:80", "127.0.0.2:80:80", NULL), 0);
	assert_int_equal(publish_both("0.0.0.0:80:80", "[::]:80:80", NULL), 0);
	assert_int_equal(publish_both("80", "80", NULL), 0);
}

static void test_not_too_many_ports(void **state)
{
	struct network_flags flags = { 0 };

	for (int i = 0; i < 65; i++) {
		AUTO_FREE char *text = xasprintf("%d:80", 1000 + i);

		strv_push(&flags.publish, text);
	}
	assert_int_equal(network_flags_apply(&flags, &config, NULL), -EINVAL);
	strv_free(flags.publish);
	flags.publish = WORDS((char *)"1024-6000:1024-6000");
	container_config_release(&config);
	container_config_init(&config);
	assert_int_equal(network_flags_apply(&flags, &config, NULL), -EINVAL);
}

static void test_networks_and_their_options(void **state)
{
	struct err err = { 0 };

	assert_int_equal(
		parse_network("back,mac=02:AB:00:00:00:01,mtu=1500,ip=10.0.0.9", &config, NULL), 0);
	assert_string_equal(config.networks.items[0].network, "back");
	assert_string_equal(config.networks.items[0].mac_address, "02:ab:00:00:00:01");
	assert_int_equal(config.networks.items[0].mtu, 1500);
	assert_string_equal(config.networks.items[0].address, "10.0.0.9");
	assert_int_equal(parse_network("other,ip=fd00::9", &config, NULL), 0);
	assert_int_equal(parse_network("back", &config, &err), -EINVAL);
	assert_string_equal(err.message, "network 'back' is named twice");
	assert_int_equal(config.networks.count, 2);
}

static void test_wrong_networks_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		",mtu=1500",
		"a,mtu=1279",
		"a,mtu=65521",
		"a,mtu=x",
		"a,mac=1",
		"a,ip=1.2.3",
		"a,mac=01:00:00:00:00:00",
		"a,foo=1",
		"a,",
		"a,ip=1.2.3.4,ip=1.2.3.5",
		"a,mac=02:00:00:00:00:0g",
		"a,mac=02-00-00-00-00-01",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (parse_network(bad[i], &config, NULL) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	assert_int_equal(config.networks.count, 0);
}

static void test_none_stands_alone(void **state)
{
	const struct network_flags flags = { .networks = WORDS((char *)"none", (char *)"back") };

	assert_int_equal(network_flags_apply(&flags, &config, NULL), -EINVAL);
}

static void test_aliases_are_for_every_network(void **state)
{
	const struct network_flags flags = { .networks = WORDS((char *)"a", (char *)"b"),
					     .aliases = WORDS((char *)"db") };
	const struct network_flags alone = { .aliases = WORDS((char *)"db") };

	assert_int_equal(network_flags_apply(&flags, &config, NULL), 0);
	assert_string_equal(config.networks.items[0].aliases[0], "db");
	assert_string_equal(config.networks.items[1].aliases[0], "db");
	container_config_release(&config);
	container_config_init(&config);
	assert_int_equal(network_flags_apply(&alone, &config, NULL), 0);
	assert_string_equal(config.networks.items[0].network, "default");
	assert_string_equal(config.networks.items[0].aliases[0], "db");
}

static void test_hosts(void **state)
{
	assert_int_equal(parse_add_host("db:10.0.0.7", &config, NULL), 0);
	assert_int_equal(parse_add_host("db=fd00::7", &config, NULL), 0);
	assert_int_equal(parse_add_host("six:[fd00::8]", &config, NULL), 0);
	assert_int_equal(parse_add_host("me:host-gateway", &config, NULL), 0);
	assert_string_equal(config.add_hosts[0], "db:10.0.0.7");
	assert_string_equal(config.add_hosts[1], "db:fd00::7");
	assert_string_equal(config.add_hosts[2], "six:fd00::8");
	assert_string_equal(config.add_hosts[3], "me:host-gateway");
	assert_int_equal(parse_add_host("db", &config, NULL), -EINVAL);
	assert_int_equal(parse_add_host("db:", &config, NULL), -EINVAL);
	assert_int_equal(parse_add_host(":10.0.0.7", &config, NULL), -EINVAL);
	assert_int_equal(parse_add_host("d b:10.0.0.7", &config, NULL), -EINVAL);
	assert_int_equal(parse_add_host("db:10.0.0.7\nevil", &config, NULL), -EINVAL);
	assert_int_equal(strv_count(config.add_hosts), 4);
}

static void test_words_of_the_resolver_cannot_begin_another_line(void **state)
{
	const struct network_flags bad[] = {
		{ .dns_options = WORDS((char *)"ndots:1\nnameserver 1.2.3.4") },
		{ .search_domains = WORDS((char *)"a b") },
		{ .domain = "x\ty" },
		{ .nameservers = WORDS((char *)"one") },
		{ .no_dns = true, .nameservers = WORDS((char *)"1.1.1.1") },
		{ .no_publish = true, .publish = WORDS((char *)"80:80") },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		container_config_release(&config);
		container_config_init(&config);
		assert_int_equal(network_flags_apply(&bad[i], &config, NULL), -EINVAL);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_ports_are_read_in_every_form),
		TEST(test_wrong_ports_are_refused),
		TEST(test_host_ports_may_not_overlap),
		TEST(test_not_too_many_ports),
		TEST(test_networks_and_their_options),
		TEST(test_wrong_networks_are_refused),
		TEST(test_none_stands_alone),
		TEST(test_aliases_are_for_every_network),
		TEST(test_hosts),
		TEST(test_words_of_the_resolver_cannot_begin_another_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
