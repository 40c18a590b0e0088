/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: INI, each key a default that a flag overrides. */
#include "engine/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ini.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/subnet.h"

#define CONFIG_MAX (1024 * 1024)
#define CPUS_DEFAULT 4
#define MEMORY_DEFAULT (1ull << 30)

uint32_t config_host_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (uint32_t)CPU_COUNT(&set);
}

void config_init(struct engine_config *config)
{
	uint32_t cpus = config_host_cpus();

	*config = (struct engine_config){
		.cpus = cpus < CPUS_DEFAULT ? cpus : CPUS_DEFAULT,
		.memory_bytes = MEMORY_DEFAULT,
		.registry_default = xstrdup("docker.io"),
		.accel = xstrdup("auto"),
		.template = true,
		.image_templates = true,
		.network_tap = true,
		.dns_domain = xstrdup("hull.internal"),
	};
}

void config_release(struct engine_config *config)
{
	free(config->registry_default);
	strv_free(config->registry_mirrors);
	strv_free(config->registry_insecure);
	free(config->kernel_path);
	free(config->accel);
	free(config->qemu);
	free(config->network_subnet);
	free(config->network_subnet6);
	strv_free(config->network_host_ports);
	free(config->dns_domain);
	strv_free(config->dns_nameservers);
}

static int set_text(char **slot, const char *value)
{
	free(*slot);
	*slot = xstrdup(value);
	return 0;
}

static int set_list(char ***slot, const char *value)
{
	AUTO_STRV char **fields = str_split(value, ' ', 0);

	STRV_EACH (fields, it)
		if (**it)
			strv_push(slot, *it);
	return 0;
}

static int set_cpus(struct engine_config *config, const char *value)
{
	uint32_t cpus = 0;

	if (str_parse_u32(value, &cpus) < 0 || cpus == 0)
		return -EINVAL;
	config->cpus = cpus < config_host_cpus() ? cpus : config_host_cpus();
	return 0;
}

static int set_memory(struct engine_config *config, const char *value)
{
	return str_parse_size(value, &config->memory_bytes);
}

static int set_registry(struct engine_config *config, const char *value)
{
	return set_text(&config->registry_default, value);
}

static int set_mirrors(struct engine_config *config, const char *value)
{
	return set_list(&config->registry_mirrors, value);
}

static int set_insecure(struct engine_config *config, const char *value)
{
	return set_list(&config->registry_insecure, value);
}

static int set_kernel(struct engine_config *config, const char *value)
{
	return set_text(&config->kernel_path, value);
}

static int set_accel(struct engine_config *config, const char *value)
{
	return set_text(&config->accel, value);
}

static int set_qemu(struct engine_config *config, const char *value)
{
	return set_text(&config->qemu, value);
}

static int set_switch(bool *slot, const char *value)
{
	if (str_eq(value, "on") || str_eq(value, "true") || str_eq(value, "yes"))
		*slot = true;
	else if (str_eq(value, "off") || str_eq(value, "false") || str_eq(value, "no"))
		*slot = false;
	else
		return -EINVAL;
	return 0;
}

static int set_template(struct engine_config *config, const char *value)
{
	return set_switch(&config->template, value);
}

static int set_image_templates(struct engine_config *config, const char *value)
{
	return set_switch(&config->image_templates, value);
}

static int set_tap(struct engine_config *config, const char *value)
{
	return set_switch(&config->network_tap, value);
}

static int set_a_subnet(char **slot, int family, const char *value)
{
	struct subnet subnet;

	if (subnet_parse(value, &subnet, NULL) < 0 || subnet.family != family)
		return -EINVAL;
	return set_text(slot, value);
}

static int set_subnet(struct engine_config *config, const char *value)
{
	return set_a_subnet(&config->network_subnet, AF_INET, value);
}

static int set_subnet6(struct engine_config *config, const char *value)
{
	return set_a_subnet(&config->network_subnet6, AF_INET6, value);
}

/* "all", "5432", "8000-8010". */
static bool is_port_range(const char *text)
{
	AUTO_STRV char **sides = str_split(text, '-', 2);
	uint32_t first = 0;
	uint32_t last = 0;

	return str_eq(text, "all") || (str_parse_u32(sides[0], &first) == 0 &&
				       str_parse_u32(sides[1] ? sides[1] : sides[0], &last) == 0 &&
				       first >= 1 && first <= last && last <= 65535);
}

static int set_host_ports(struct engine_config *config, const char *value)
{
	set_list(&config->network_host_ports, value);
	STRV_EACH (config->network_host_ports, it)
		if (!is_port_range(*it))
			return -EINVAL;
	return 0;
}

static int set_domain(struct engine_config *config, const char *value)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-.";

	if (!*value || *value == '.' || strlen(value) > 200 ||
	    strspn(value, allowed) != strlen(value) || strstr(value, ".."))
		return -EINVAL;
	return set_text(&config->dns_domain, value);
}

static int set_nameservers(struct engine_config *config, const char *value)
{
	uint8_t bytes[16];

	set_list(&config->dns_nameservers, value);
	STRV_EACH (config->dns_nameservers, it)
		if (inet_pton(AF_INET, *it, bytes) != 1 && inet_pton(AF_INET6, *it, bytes) != 1)
			return -EINVAL;
	return 0;
}

/* NULL set: a key of the contract that is carried out by a part that is not there yet. */
static const struct {
	const char *section, *key;
	int (*set)(struct engine_config *config, const char *value);
} keys[] = {
	{ "container", "cpus", set_cpus },
	{ "container", "memory", set_memory },
	{ "build", "cpus", NULL },
	{ "build", "memory", NULL },
	{ "dns", "domain", set_domain },
	{ "dns", "nameservers", set_nameservers },
	{ "network", "subnet", set_subnet },
	{ "network", "subnet-v6", set_subnet6 },
	{ "network", "host-ports", set_host_ports },
	{ "network", "tap", set_tap },
	{ "registry", "default", set_registry },
	{ "registry", "mirrors", set_mirrors },
	{ "registry", "insecure", set_insecure },
	{ "kernel", "path", set_kernel },
	{ "vm", "accel", set_accel },
	{ "vm", "qemu", set_qemu },
	{ "vm", "template", set_template },
	{ "vm", "image-templates", set_image_templates },
};

struct reading {
	struct engine_config *config;
	const char *path;
	struct err *err;
	int result;
};

/* inih's handler: 1 to go on, 0 for an error (it goes on then too; the first one is kept). */
static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
	struct reading *reading = ctx;

	if (reading->result < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (!str_eq(keys[i].section, section) || !str_eq(keys[i].key, key))
			continue;
		if (!keys[i].set || keys[i].set(reading->config, value) == 0)
			return 1;
		reading->result =
			err_set(reading->err, -EINVAL, "%s: invalid value '%s' of '%s' in [%s]",
				reading->path, value, key, section);
		return 0;
	}
	reading->result = err_set(reading->err, -EINVAL, "%s: unknown key '%s' in [%s]",
				  reading->path, key, section);
	return 0;
}

int config_read(struct engine_config *config, const char *path, bool required, struct err *err)
{
	struct reading reading = { .config = config, .path = path, .err = err };
	AUTO_FREE char *text = NULL;
	struct err read_err = { 0 };
	int line;
	int r = file_read(path, CONFIG_MAX, &text, NULL, &read_err);

	if (r == -ENOENT && !required)
		return 0;
	if (r < 0)
		return err_set(err, r, "%s", read_err.message);
	line = ini_parse_string(text, on_key, &reading);
	if (reading.result < 0)
		return reading.result;
	if (line)
		return err_set(err, -EINVAL, "%s: cannot understand line %d", path, line);
	return 0;
}
