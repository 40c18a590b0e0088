/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as tables: a shape lists the members of a JSON object, each with its kind and
 * where it is in the struct. Writing, reading, the refusal of members that are not known, and the
 * release of what was read all walk the same tables, so a new member is one new line.
 */
#include "store/config.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

struct shape;

struct member {
	const char *name;
	const struct kind *kind;
	size_t offset;
	const struct shape *shape; /* of an object or of an array's elements */
	bool optional;             /* left out when it is zero or empty */
};

struct shape {
	const struct member *members;
	size_t count;
	size_t size; /* of an array's element */
};

/* How one kind of member is written, read and released; slot points at it in the struct. */
struct kind {
	json_t *(*write)(const struct member *member, const void *slot); /* NULL: left out */
	int (*read)(const struct member *member, const json_t *json, void *slot, struct err *err);
	void (*release)(const struct member *member, void *slot);
};

struct any_vec {
	char *items;
	size_t count, capacity;
};

static json_t *shape_write(const struct shape *shape, const void *base);
static int shape_read(const struct shape *shape, const json_t *json, void *base, struct err *err);
static void shape_release(const struct shape *shape, void *base);

static int bad(const struct member *member, const char *wanted, struct err *err)
{
	return err_set(err, -EBADMSG, "member '%s' is not %s", member->name, wanted);
}

static json_t *string_write(const struct member *member, const void *slot)
{
	const char *text = *(char *const *)slot;

	return text ? json_string_nocheck(text) : NULL;
}

static int string_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	if (!json_is_string(json))
		return bad(member, "a string", err);
	*(char **)slot = xstrdup(json_string_value(json));
	return 0;
}

static void string_release(const struct member *member, void *slot)
{
	free(*(char **)slot);
}

static json_t *strv_write(const struct member *member, const void *slot)
{
	char *const *strv = *(char **const *)slot;
	json_t *array;

	if (member->optional && !strv_count(strv))
		return NULL;
	array = json_array();
	STRV_EACH (strv, it)
		json_array_append_new(array, json_string_nocheck(*it));
	return array;
}

static int strv_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	size_t i;
	const json_t *item;

	if (!json_is_array(json))
		return bad(member, "an array", err);
	json_array_foreach (json, i, item) {
		if (!json_is_string(item))
			return bad(member, "an array of strings", err);
		strv_push(slot, json_string_value(item));
	}
	return 0;
}

static void strv_release(const struct member *member, void *slot)
{
	strv_free(*(char ***)slot);
}

/* Vectors of "key=value" are objects in JSON. */
static json_t *pairs_write(const struct member *member, const void *slot)
{
	json_t *object = json_object();

	STRV_EACH (*(char **const *)slot, it) {
		const char *equals = strchr(*it, '=');
		AUTO_FREE char *key = xstrndup(*it, equals ? (size_t)(equals - *it) : strlen(*it));

		json_object_set_new_nocheck(object, key,
					    json_string_nocheck(equals ? equals + 1 : ""));
	}
	return object;
}

static int pairs_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return bad(member, "an object", err);
	json_object_foreach ((json_t *)json, key, value) {
		AUTO_FREE char *pair = NULL;

		if (!json_is_string(value))
			return bad(member, "an object of strings", err);
		pair = xasprintf("%s=%s", key, json_string_value(value));
		strv_push(slot, pair);
	}
	return 0;
}

/* Groups are numbers in JSON when they are numbers. */
static json_t *groups_write(const struct member *member, const void *slot)
{
	json_t *array = json_array();

	STRV_EACH (*(char **const *)slot, it) {
		uint32_t id = 0;
		bool number = str_parse_u32(*it, &id) == 0 && (**it != '0' || !(*it)[1]);

		json_array_append_new(array, number ? json_integer(id) : json_string_nocheck(*it));
	}
	return array;
}

static int groups_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	size_t i;
	const json_t *item;

	if (!json_is_array(json))
		return bad(member, "an array", err);
	json_array_foreach (json, i, item) {
		AUTO_FREE char *number = NULL;

		if (json_is_integer(item) && json_integer_value(item) >= 0)
			number = xasprintf("%lld", (long long)json_integer_value(item));
		else if (!json_is_string(item))
			return bad(member, "an array of groups", err);
		strv_push(slot, number ? number : json_string_value(item));
	}
	return 0;
}

/* {"raw":{"userString":U}}, or {"id":{"uid":0,"gid":0}} when none was given. */
static json_t *user_write(const struct member *member, const void *slot)
{
	const char *user = *(char *const *)slot;

	return user ? json_pack("{s:{s:o}}", "raw", "userString", json_string_nocheck(user))
		    : json_pack("{s:{s:i,s:i}}", "id", "uid", 0, "gid", 0);
}

static int user_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	const char *user = json_get_string(json_object_get(json, "raw"), "userString");
	const json_t *id = json_object_get(json, "id");
	int64_t uid = json_get_int(id, "uid", -1);
	int64_t gid = json_get_int(id, "gid", -1);

	if (json_object_size(json) != 1 || (!user && (uid < 0 || gid < 0)))
		return bad(member, "a user", err);
	if (user)
		*(char **)slot = xstrdup(user);
	else if (uid || gid)
		*(char **)slot = xasprintf("%lld:%lld", (long long)uid, (long long)gid);
	return 0;
}

static json_t *bool_write(const struct member *member, const void *slot)
{
	bool value = *(const bool *)slot;

	return member->optional && !value ? NULL : json_boolean(value);
}

static int bool_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	if (!json_is_boolean(json))
		return bad(member, "true or false", err);
	*(bool *)slot = json_is_true(json);
	return 0;
}

static int number_read(const struct member *member, const json_t *json, int64_t max,
		       int64_t *ret_value, struct err *err)
{
	int64_t value = json_is_integer(json) ? json_integer_value(json) : -1;

	if (value < 0 || value > max)
		return bad(member, "a number in its range", err);
	*ret_value = value;
	return 0;
}

static json_t *u32_write(const struct member *member, const void *slot)
{
	uint32_t value = *(const uint32_t *)slot;

	return member->optional && !value ? NULL : json_integer(value);
}

static int u32_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	int64_t value = 0;
	int r = number_read(member, json, UINT32_MAX, &value, err);

	if (r == 0)
		*(uint32_t *)slot = (uint32_t)value;
	return r;
}

static json_t *u64_write(const struct member *member, const void *slot)
{
	uint64_t value = *(const uint64_t *)slot;

	if (member->optional && !value)
		return NULL;
	return json_integer(value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static int u64_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	int64_t value = 0;
	int r = number_read(member, json, INT64_MAX, &value, err);

	if (r == 0)
		*(uint64_t *)slot = (uint64_t)value;
	return r;
}

/* Unlimited is -1: what a JSON integer holds here ends at INT64_MAX. */
static json_t *limit_write(const struct member *member, const void *slot)
{
	uint64_t value = *(const uint64_t *)slot;

	return json_integer(value > INT64_MAX ? -1 : (int64_t)value);
}

static int limit_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	if (json_is_integer(json) && json_integer_value(json) == -1) {
		*(uint64_t *)slot = UINT64_MAX;
		return 0;
	}
	return u64_read(member, json, slot, err);
}

static json_t *time_write(const struct member *member, const void *slot)
{
	AUTO_FREE char *text = str_time(*(const int64_t *)slot);

	return json_string(text);
}

static int time_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	const char *text = json_string_value(json);
	struct tm tm = { 0 };
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;

	if (!end || *end)
		return bad(member, "a date", err);
	*(int64_t *)slot = timegm(&tm);
	return 0;
}

static json_t *labels_write(const struct member *member, const void *slot)
{
	json_t *labels = *(json_t *const *)slot;

	return labels ? json_deep_copy(labels) : json_object();
}

static int labels_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return bad(member, "an object", err);
	json_object_foreach ((json_t *)json, key, value)
		if (!json_is_string(value))
			return bad(member, "an object of strings", err);
	json_decref(*(json_t **)slot);
	*(json_t **)slot = json_deep_copy(json);
	return 0;
}

static void labels_release(const struct member *member, void *slot)
{
	json_decref(*(json_t **)slot);
}

/* An object whose members are in the same struct (offset 0) or in one inside it. */
static json_t *object_write(const struct member *member, const void *slot)
{
	json_t *object = shape_write(member->shape, slot);
	const char *key;
	json_t *value;
	bool empty = true;

	json_object_foreach (object, key, value)
		empty &= json_is_array(value) && !json_array_size(value);
	if (!member->optional || !empty)
		return object;
	json_decref(object);
	return NULL;
}

static int object_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	int r = shape_read(member->shape, json, slot, err);

	if (r < 0)
		err_context(err, "%s", member->name);
	return r;
}

static void object_release(const struct member *member, void *slot)
{
	shape_release(member->shape, slot);
}

static json_t *array_write(const struct member *member, const void *slot)
{
	const struct any_vec *vec = slot;
	json_t *array;

	if (member->optional && !vec->count)
		return NULL;
	array = json_array();
	for (size_t i = 0; i < vec->count; i++)
		json_array_append_new(
			array, shape_write(member->shape, vec->items + i * member->shape->size));
	return array;
}

static int array_read(const struct member *member, const json_t *json, void *slot, struct err *err)
{
	const struct shape *shape = member->shape;
	struct any_vec *vec = slot;
	size_t i;
	const json_t *item;

	if (!json_is_array(json))
		return bad(member, "an array", err);
	if (!json_array_size(json))
		return 0;
	vec->capacity = json_array_size(json);
	vec->items = xcalloc(vec->capacity, shape->size);
	json_array_foreach (json, i, item) {
		int r;

		vec->count = i + 1;
		r = shape_read(shape, item, vec->items + i * shape->size, err);
		if (r < 0) {
			err_context(err, "%s[%zu]", member->name, i);
			return r;
		}
	}
	return 0;
}

static void array_release(const struct member *member, void *slot)
{
	struct any_vec *vec = slot;

	for (size_t i = 0; i < vec->count; i++)
		shape_release(member->shape, vec->items + i * member->shape->size);
	free(vec->items);
}

static const struct kind kind_string = { string_write, string_read, string_release };
static const struct kind kind_strv = { strv_write, strv_read, strv_release };
static const struct kind kind_pairs = { pairs_write, pairs_read, strv_release };
static const struct kind kind_groups = { groups_write, groups_read, strv_release };
static const struct kind kind_user = { user_write, user_read, string_release };
static const struct kind kind_bool = { bool_write, bool_read, NULL };
static const struct kind kind_u32 = { u32_write, u32_read, NULL };
static const struct kind kind_u64 = { u64_write, u64_read, NULL };
static const struct kind kind_limit = { limit_write, limit_read, NULL };
static const struct kind kind_time = { time_write, time_read, NULL };
static const struct kind kind_labels = { labels_write, labels_read, labels_release };
static const struct kind kind_object = { object_write, object_read, object_release };
static const struct kind kind_array = { array_write, array_read, array_release };

#define SHAPE(name, type)                                                              \
	static const struct shape name = { name##_members, ARRAY_SIZE(name##_members), \
					   sizeof(type) }

#define MOUNT(member) offsetof(struct mount_config, member)
static const struct member mount_members[] = {
	{ "type", &kind_string, MOUNT(type) },
	{ "source", &kind_string, MOUNT(source) },
	{ "destination", &kind_string, MOUNT(destination) },
	{ "options", &kind_strv, MOUNT(options) },
};
SHAPE(mount, struct mount_config);

#define SOCKET(member) offsetof(struct socket_config, member)
static const struct member socket_members[] = {
	{ "hostPath", &kind_string, SOCKET(host_path) },
	{ "containerPath", &kind_string, SOCKET(container_path) },
};
SHAPE(socket, struct socket_config);

#define SECRET(member) offsetof(struct secret_config, member)
static const struct member secret_members[] = {
	{ "id", &kind_string, SECRET(id) },
	{ "file", &kind_string, SECRET(file) },
	{ "variable", &kind_string, SECRET(variable) },
	{ "target", &kind_string, SECRET(target) },
	{ "mode", &kind_u32, SECRET(mode) },
};
SHAPE(secret, struct secret_config);

#define PORT(member) offsetof(struct port_config, member)
static const struct member port_members[] = {
	{ "hostAddress", &kind_string, PORT(host_address) },
	{ "hostPort", &kind_u32, PORT(host_port) },
	{ "containerPort", &kind_u32, PORT(container_port) },
	{ "proto", &kind_string, PORT(proto) },
	{ "count", &kind_u32, PORT(count) },
	{ "automatic", &kind_bool, PORT(automatic), .optional = true },
};
SHAPE(port, struct port_config);

#define NETWORK(member) offsetof(struct network_config, member)
static const struct member network_options_members[] = {
	{ "hostname", &kind_string, NETWORK(hostname) },
	{ "macAddress", &kind_string, NETWORK(mac_address) },
	{ "mtu", &kind_u32, NETWORK(mtu), .optional = true },
	{ "address", &kind_string, NETWORK(address) },
	{ "aliases", &kind_strv, NETWORK(aliases), .optional = true },
};
SHAPE(network_options, struct network_config);
static const struct member network_members[] = {
	{ "network", &kind_string, NETWORK(network) },
	{ "options", &kind_object, 0, &network_options },
};
SHAPE(network, struct network_config);

#define LIMIT(member) offsetof(struct rlimit_config, member)
static const struct member rlimit_members[] = {
	{ "limit", &kind_string, LIMIT(name) },
	{ "soft", &kind_limit, LIMIT(soft) },
	{ "hard", &kind_limit, LIMIT(hard) },
};
SHAPE(rlimit, struct rlimit_config);

#define PROCESS(member) offsetof(struct process_config, member)
static const struct member process_members[] = {
	{ "executable", &kind_string, PROCESS(executable) },
	{ "arguments", &kind_strv, PROCESS(arguments) },
	{ "environment", &kind_strv, PROCESS(environment) },
	{ "workingDirectory", &kind_string, PROCESS(working_directory) },
	{ "terminal", &kind_bool, PROCESS(terminal) },
	{ "user", &kind_user, PROCESS(user) },
	{ "supplementalGroups", &kind_groups, PROCESS(supplemental_groups) },
	{ "rlimits", &kind_array, PROCESS(rlimits), &rlimit },
};
SHAPE(process, struct process_config);

#define CONFIG(member) offsetof(struct container_config, member)
static const struct member descriptor_members[] = {
	{ "mediaType", &kind_string, CONFIG(image.media_type) },
	{ "digest", &kind_string, CONFIG(image.digest) },
	{ "size", &kind_u64, CONFIG(image.size) },
};
SHAPE(descriptor, struct container_config);
static const struct member image_members[] = {
	{ "reference", &kind_string, CONFIG(image.reference) },
	{ "descriptor", &kind_object, 0, &descriptor },
};
SHAPE(image, struct container_config);
static const struct member platform_members[] = {
	{ "os", &kind_string, CONFIG(platform.os) },
	{ "architecture", &kind_string, CONFIG(platform.architecture) },
	{ "variant", &kind_string, CONFIG(platform.variant) },
};
SHAPE(platform, struct container_config);
static const struct member resources_members[] = {
	{ "cpus", &kind_u32, CONFIG(cpus) },
	{ "cpuPercent", &kind_u32, CONFIG(cpu_percent), .optional = true },
	{ "memoryInBytes", &kind_u64, CONFIG(memory_bytes) },
};
SHAPE(resources, struct container_config);
static const struct member dns_members[] = {
	{ "nameservers", &kind_strv, CONFIG(dns.nameservers) },
	{ "domain", &kind_string, CONFIG(dns.domain) },
	{ "searchDomains", &kind_strv, CONFIG(dns.search_domains) },
	{ "options", &kind_strv, CONFIG(dns.options) },
};
SHAPE(dns, struct container_config);
static const struct member health_members[] = {
	{ "test", &kind_strv, CONFIG(health.test), .optional = true },
	{ "intervalInMs", &kind_u64, CONFIG(health.interval_ms), .optional = true },
	{ "timeoutInMs", &kind_u64, CONFIG(health.timeout_ms), .optional = true },
	{ "startPeriodInMs", &kind_u64, CONFIG(health.start_period_ms), .optional = true },
	{ "startIntervalInMs", &kind_u64, CONFIG(health.start_interval_ms), .optional = true },
	{ "retries", &kind_u32, CONFIG(health.retries), .optional = true },
};
SHAPE(health, struct container_config);
static const struct member hull_members[] = {
	{ "addHosts", &kind_strv, CONFIG(add_hosts), .optional = true },
	{ "autoRemove", &kind_bool, CONFIG(auto_remove) },
	{ "defaultMaskedPaths", &kind_bool, CONFIG(default_masked_paths) },
	{ "defaultReadonlyPaths", &kind_bool, CONFIG(default_read_only_paths) },
	{ "forkIndex", &kind_u32, CONFIG(fork_index), .optional = true },
	{ "generation", &kind_u32, CONFIG(generation), .optional = true },
	{ "hostname", &kind_string, CONFIG(hostname) },
	{ "kernel", &kind_string, CONFIG(kernel) },
	{ "manifestDigest", &kind_string, CONFIG(manifest_digest) },
	{ "noDns", &kind_bool, CONFIG(no_dns), .optional = true },
	{ "pidsLimit", &kind_u64, CONFIG(pids_limit), .optional = true },
	{ "privileged", &kind_bool, CONFIG(privileged) },
	{ "restart", &kind_string, CONFIG(restart) },
	{ "rootKey", &kind_string, CONFIG(root_key) },
	{ "secrets", &kind_array, CONFIG(secrets), &secret, .optional = true },
	{ "storageBytes", &kind_u64, CONFIG(storage_bytes), .optional = true },
	{ "stdinOpen", &kind_bool, CONFIG(process.stdin_open) },
};
SHAPE(hull, struct container_config);
static const struct member config_members[] = {
	{ "id", &kind_string, CONFIG(id) },
	{ "image", &kind_object, 0, &image },
	{ "mounts", &kind_array, CONFIG(mounts), &mount },
	{ "publishedPorts", &kind_array, CONFIG(ports), &port },
	{ "publishedSockets", &kind_array, CONFIG(sockets), &socket },
	{ "labels", &kind_labels, CONFIG(labels) },
	{ "sysctls", &kind_pairs, CONFIG(sysctls) },
	{ "networks", &kind_array, CONFIG(networks), &network },
	{ "dns", &kind_object, 0, &dns, .optional = true },
	{ "initProcess", &kind_object, CONFIG(process), &process },
	{ "platform", &kind_object, 0, &platform },
	{ "resources", &kind_object, 0, &resources },
	{ "ssh", &kind_bool, CONFIG(ssh) },
	{ "readOnly", &kind_bool, CONFIG(read_only) },
	{ "useInit", &kind_bool, CONFIG(use_init) },
	{ "capAdd", &kind_strv, CONFIG(cap_add) },
	{ "capDrop", &kind_strv, CONFIG(cap_drop) },
	{ "shmSize", &kind_u64, CONFIG(shm_bytes), .optional = true },
	{ "stopSignal", &kind_string, CONFIG(stop_signal) },
	{ "maskedPaths", &kind_strv, CONFIG(masked_paths), .optional = true },
	{ "readonlyPaths", &kind_strv, CONFIG(read_only_paths), .optional = true },
	{ "creationDate", &kind_time, CONFIG(created_at) },
	{ "healthCheck", &kind_object, 0, &health, .optional = true },
	{ "origin", &kind_string, CONFIG(origin) },
	{ "hull", &kind_object, 0, &hull },
};
SHAPE(config, struct container_config);

#define MEMBERS_EACH(shape, it)                                                                  \
	for (const struct member *it = (shape)->members; it < (shape)->members + (shape)->count; \
	     it++)

static json_t *shape_write(const struct shape *shape, const void *base)
{
	json_t *object = json_object();

	MEMBERS_EACH(shape, it)
	{
		json_t *value = it->kind->write(it, (const char *)base + it->offset);

		if (value)
			json_object_set_new(object, it->name, value);
	}
	return object;
}

static const struct member *shape_find(const struct shape *shape, const char *name)
{
	MEMBERS_EACH(shape, it)
	if (str_eq(it->name, name))
		return it;
	return NULL;
}

static int shape_read(const struct shape *shape, const json_t *json, void *base, struct err *err)
{
	const char *name;
	json_t *value;

	if (!json_is_object(json))
		return err_set(err, -EBADMSG, "not an object");
	json_object_foreach ((json_t *)json, name, value) {
		const struct member *member = shape_find(shape, name);
		int r;

		if (!member)
			return err_set(err, -EBADMSG, "unknown member '%s'", name);
		r = member->kind->read(member, value, (char *)base + member->offset, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void shape_release(const struct shape *shape, void *base)
{
	MEMBERS_EACH(shape, it)
	if (it->kind->release)
		it->kind->release(it, (char *)base + it->offset);
}

void container_config_init(struct container_config *ret_config)
{
	*ret_config = (struct container_config){
		.labels = json_object(),
		.default_masked_paths = true,
		.default_read_only_paths = true,
	};
}

void container_config_release(struct container_config *container)
{
	shape_release(&config, container);
	*container = (struct container_config){ 0 };
}

void config_set_cpus(struct container_config *to, uint32_t hundredths)
{
	to->cpus = hundredths / 100 + (hundredths % 100 != 0);
	to->cpu_percent = hundredths % 100 ? hundredths : 0;
}

void config_set_limits(struct container_config *to, const struct config_limits *limits)
{
	if (limits->cpu_hundredths)
		config_set_cpus(to, limits->cpu_hundredths);
	if (limits->memory_bytes)
		to->memory_bytes = limits->memory_bytes;
	if (limits->pids_limit)
		to->pids_limit = limits->pids_limit;
	if (str_eq(str_or(limits->restart, ""), ""))
		return;
	free(to->restart);
	to->restart = xstrdup(limits->restart);
}

void process_config_release(struct process_config *init)
{
	shape_release(&process, init);
	*init = (struct process_config){ 0 };
}

static int ignore_text(const char *text, size_t size, void *ctx)
{
	return 0;
}

void network_config_release(struct network_config *config_of_one)
{
	shape_release(&network, config_of_one);
	*config_of_one = (struct network_config){ 0 };
}

json_t *container_config_to_json(const struct container_config *container)
{
	AUTO_JSON json_t *json = shape_write(&config, container);

	/* Texts were taken unchecked; writing the document checks that they are UTF-8. */
	return json_dump_callback(json, ignore_text, NULL, 0) == 0 ? TAKE_PTR(json) : NULL;
}

int container_config_from_json(const json_t *json, struct container_config *ret_config,
			       struct err *err)
{
	CLEANUP(container_config_release) struct container_config container;
	int r;

	container_config_init(&container);
	r = shape_read(&config, json, &container, err);
	if (r == 0 && !container.id)
		r = err_set(err, -EBADMSG, "member 'id' is missing");
	if (r < 0) {
		err_context(err, "not a container's configuration");
		return r;
	}
	*ret_config = container;
	container = (struct container_config){ 0 };
	return 0;
}
