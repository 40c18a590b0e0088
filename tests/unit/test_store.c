/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/str.h"
#include "store/config.h"
#include "store/containers.h"
#include "store/images.h"
#include "store/store.h"
#include "store/volumes.h"

static struct store *open_store(const char *root)
{
	struct store *store = NULL;
	struct err err = { 0 };

	if (store_open(root, &store, &err) < 0)
		fail_msg("%s", err.message);
	return store;
}

static void container_init(struct container *container, const char *uuid, const char *id)
{
	*container = (struct container){ 0 };
	snprintf(container->uuid, sizeof(container->uuid), "%s", uuid);
	container_config_init(&container->config);
	container->config.id = xstrdup(id);
}

static int insert(struct store *store, const char *uuid, const char *id, int64_t created_at,
		  struct err *err)
{
	struct container container;
	int r;

	container_init(&container, uuid, id);
	container.config.created_at = created_at;
	r = containers_insert(store, &container, err);
	container_config_release(&container.config);
	return r;
}

/* Runs one statement on the database itself, as damage from outside. */
static void run_sql(const char *root, const char *sql)
{
	AUTO_FREE char *path = path_join(root, "hull.db");
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void test_open_makes_a_private_file(void **state)
{
	AUTO_FREE char *path = path_join(*state, "hull.db");
	struct stat st;

	store_close(open_store(*state));
	store_close(open_store(*state));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_open_without_directory(void **state)
{
	AUTO_FREE char *root = path_join(*state, "nowhere");
	struct store *store = NULL;
	struct err err = { 0 };

	assert_int_equal(store_open(root, &store, &err), -ENOENT);
	assert_non_null(strstr(err.message, "nowhere/hull.db': No such file or directory"));
	assert_null(store);
}

static void test_open_refuses_newer_schema(void **state)
{
	struct store *store = NULL;
	struct err err = { 0 };

	store_close(open_store(*state));
	run_sql(*state, "PRAGMA user_version = 9999");
	assert_int_equal(store_open(*state, &store, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "newer hull"));
}

static void test_open_refuses_foreign_database(void **state)
{
	struct store *store = NULL;
	struct err err = { 0 };

	run_sql(*state, "CREATE TABLE notes (x)");
	assert_int_equal(store_open(*state, &store, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "is not a database of hull"));
}

static void test_open_reports_garbage(void **state)
{
	AUTO_FREE char *path = path_join(*state, "hull.db");
	AUTO_FREE char *garbage = xcalloc(1, 8192);
	struct store *store = NULL;
	struct err err = { 0 };

	memset(garbage, 'x', 8192);
	assert_int_equal(file_write_atomic(path, garbage, 8192, 0600, false, NULL), 0);
	assert_int_equal(store_open(*state, &store, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "damaged"));
}

static void test_damaged_pages_are_reported(void **state)
{
	AUTO_FREE char *path = path_join(*state, "hull.db");
	AUTO_FREE char *zeros = xcalloc(1, 4096);
	struct container_list list = { 0 };
	struct stat st;
	struct err err = { 0 };

	store_close(open_store(*state));
	run_sql(*state, "PRAGMA journal_mode = DELETE"); /* all in the one file */
	assert_int_equal(stat(path, &st), 0);
	memset(zeros, 0xff, 4096);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	for (off_t at = 4096; at + 4096 <= st.st_size; at += 4096)
		assert_int_equal(fd_pwrite_all(fd, zeros, 4096, at), 0);

	CLEANUP(store_closep) struct store *store = open_store(*state);
	assert_int_equal(containers_list(store, &list, &err), -EUCLEAN);
	assert_non_null(strstr(err.message, "damaged"));
}

static void test_empty_file_becomes_a_database(void **state)
{
	AUTO_FREE char *path = path_join(*state, "hull.db");

	/* What a power cut between making the file and filling it leaves. */
	assert_int_equal(file_write_atomic(path, "", 0, 0600, false, NULL), 0);
	CLEANUP(store_closep) struct store *store = open_store(*state);
	assert_int_equal(store_set_setting(store, "a", "1", NULL), 0);
}

static void test_settings(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	AUTO_FREE char *first = NULL;
	AUTO_FREE char *second = NULL;
	char *none = (char *)"set";

	assert_int_equal(store_get_setting(store, "kernel", &none, NULL), 0);
	assert_null(none);
	assert_int_equal(store_set_setting(store, "kernel", "/boot/a", NULL), 0);
	assert_int_equal(store_get_setting(store, "kernel", &first, NULL), 0);
	assert_string_equal(first, "/boot/a");
	assert_int_equal(store_set_setting(store, "kernel", "/boot/b", NULL), 0);
	assert_int_equal(store_get_setting(store, "kernel", &second, NULL), 0);
	assert_string_equal(second, "/boot/b");
	assert_int_equal(store_set_setting(store, "kernel", NULL, NULL), 0);
	assert_int_equal(store_get_setting(store, "kernel", &none, NULL), 0);
	assert_null(none);
}

static void test_transactions(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(store_closep) struct store *other = open_store(*state);
	AUTO_FREE char *kept = NULL;
	char *value = NULL;

	store_rollback(store); /* outside of one: nothing */
	assert_int_equal(store_begin(store, NULL), 0);
	assert_int_equal(store_set_setting(store, "a", "1", NULL), 0);
	assert_int_equal(store_get_setting(other, "a", &value, NULL), 0);
	assert_null(value);
	store_rollback(store);
	assert_int_equal(store_get_setting(store, "a", &value, NULL), 0);
	assert_null(value);
	assert_int_equal(store_begin(store, NULL), 0);
	assert_int_equal(store_set_setting(store, "a", "2", NULL), 0);
	assert_int_equal(store_commit(store, NULL), 0);
	assert_int_equal(store_get_setting(other, "a", &kept, NULL), 0);
	assert_string_equal(kept, "2");
}

static void test_images(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };
	CLEANUP(image_row_release) struct image_row row = { 0 };
	struct image_row b = { (char *)"docker.io/b:1", (char *)"sha256:b", (char *)"m", 2, 22 };
	struct image_row a = { (char *)"docker.io/a:1", (char *)"sha256:a", (char *)"m", 1, 11 };
	struct err err = { 0 };

	assert_int_equal(images_set(store, &b, &err), 0);
	assert_int_equal(images_set(store, &a, &err), 0);
	b.digest = (char *)"sha256:bb";
	b.size = 1ull << 40;
	assert_int_equal(images_set(store, &b, &err), 0);
	assert_int_equal(images_get(store, "docker.io/b:1", &row, &err), 0);
	assert_string_equal(row.reference, "docker.io/b:1");
	assert_string_equal(row.digest, "sha256:bb");
	assert_string_equal(row.media_type, "m");
	assert_true(row.size == 1ull << 40);
	assert_int_equal(row.created_at, 22);
	assert_int_equal(images_list(store, &rows, &err), 0);
	assert_int_equal(rows.count, 2);
	assert_string_equal(rows.items[0].reference, "docker.io/a:1");
	assert_int_equal(images_delete(store, "docker.io/a:1", &err), 0);
	assert_int_equal(images_delete(store, "docker.io/a:1", &err), -ENOENT);
	assert_string_equal(err.message, "image not found: docker.io/a:1");
	assert_int_equal(images_get(store, "docker.io/a:1", &row, &err), -ENOENT);
}

static void test_volumes(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(volume_list_release) struct volume_list list = { 0 };
	CLEANUP(volume_release) struct volume read = { 0 };
	AUTO_JSON json_t *labels = json_pack("{s:s}", "k", "v");
	struct volume b = { .name = (char *)"b",
			    .size_bytes = 1ull << 40,
			    .journal = (char *)"writeback",
			    .created_at = 5,
			    .labels = labels };
	struct volume a = { .name = (char *)"a", .kind = VOLUME_DIRECTORY, .anonymous = true };
	struct err err = { 0 };

	assert_int_equal(volumes_insert(store, &b, &err), 0);
	assert_int_equal(volumes_insert(store, &a, &err), 0);
	assert_int_equal(volumes_insert(store, &a, &err), -EEXIST);
	assert_string_equal(err.message, "volume already exists: a");
	assert_int_equal(volumes_get(store, "b", &read, &err), 0);
	assert_int_equal(read.kind, VOLUME_DISK);
	assert_true(read.size_bytes == 1ull << 40 && !read.anonymous && read.created_at == 5);
	assert_string_equal(read.journal, "writeback");
	assert_true(json_equal(read.labels, labels));
	assert_int_equal(json_object_size(read.options), 0);
	assert_int_equal(volumes_list(store, &list, &err), 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].name, "a");
	assert_true(list.items[0].anonymous && list.items[0].kind == VOLUME_DIRECTORY);
	assert_null(list.items[0].journal);
	assert_int_equal(volumes_delete(store, "a", &err), 0);
	assert_int_equal(volumes_delete(store, "a", &err), -ENOENT);
	assert_string_equal(err.message, "volume not found: a");
	run_sql(*state, "UPDATE volumes SET labels = '{'");
	volume_list_release(&list);
	assert_int_equal(volumes_list(store, &list, &err), -EUCLEAN);
}

static void test_containers_life(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(container_freep) struct container *later = NULL;
	struct err err = { 0 };

	assert_int_equal(insert(store, "u-1", "web", 100, &err), 0);
	assert_int_equal(insert(store, "u-2", "web", 100, &err), -EEXIST);
	assert_string_equal(err.message, "container with id web already exists");
	assert_int_equal(containers_get(store, "web", &container, &err), 0);
	assert_int_equal(container->state, CONTAINER_CREATED);
	assert_false(container->has_exit_code);
	assert_null(container->error);

	container->state = CONTAINER_STOPPED;
	container->started_at = 7;
	container->finished_at = 9;
	container->has_exit_code = true;
	container->exit_code = 137;
	container->error = xstrdup("killed");
	assert_int_equal(containers_update(store, container, &err), 0);
	assert_int_equal(containers_get_uuid(store, "u-1", &later, &err), 0);
	assert_int_equal(later->state, CONTAINER_STOPPED);
	assert_int_equal(later->started_at, 7);
	assert_int_equal(later->finished_at, 9);
	assert_true(later->has_exit_code);
	assert_int_equal(later->exit_code, 137);
	assert_string_equal(later->error, "killed");

	assert_int_equal(containers_delete(store, "u-1", &err), 0);
	assert_int_equal(containers_delete(store, "u-1", &err), -ENOENT);
	assert_int_equal(containers_update(store, later, &err), -ENOENT);
	assert_string_equal(err.message, "container not found: web");
	assert_int_equal(containers_update_config(store, later, &err), -ENOENT);
	container_freep(&later);
	later = NULL;
	assert_int_equal(containers_get_uuid(store, "u-1", &later, &err), -ENOENT);
}

static void test_every_state_is_kept(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(container_freep) struct container *container = NULL;

	assert_int_equal(insert(store, "u-1", "web", 100, NULL), 0);
	assert_int_equal(containers_get(store, "web", &container, NULL), 0);
	for (int s = 0; s < CONTAINER_STATE_COUNT; s++) {
		CLEANUP(container_freep) struct container *read = NULL;

		container->state = (enum container_state)s;
		assert_int_equal(containers_update(store, container, NULL), 0);
		assert_int_equal(containers_get(store, "web", &read, NULL), 0);
		assert_int_equal(read->state, s);
	}
	run_sql(*state, "UPDATE containers SET state = 'odd'");
	struct err err = { 0 };
	struct container *odd = NULL;
	assert_int_equal(containers_get(store, "web", &odd, &err), -EUCLEAN);
}

static void test_rename_and_reconfigure(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(container_freep) struct container *renamed = NULL;
	struct err err = { 0 };

	assert_int_equal(insert(store, "u-1", "one", 1, NULL), 0);
	assert_int_equal(insert(store, "u-2", "two", 2, NULL), 0);
	assert_int_equal(containers_get(store, "one", &container, NULL), 0);
	free(container->config.id);
	container->config.id = xstrdup("two");
	assert_int_equal(containers_update_config(store, container, &err), -EEXIST);
	assert_string_equal(err.message, "container with id two already exists");
	free(container->config.id);
	container->config.id = xstrdup("three");
	container->config.cpus = 3;
	assert_int_equal(containers_update_config(store, container, &err), 0);
	assert_int_equal(containers_get(store, "three", &renamed, NULL), 0);
	assert_string_equal(renamed->uuid, "u-1");
	assert_int_equal(renamed->config.cpus, 3);
}

static int set_cpus(void *ctx, struct container *container, struct err *err)
{
	container->config.cpus = 7;
	return *(const int *)ctx;
}

static void test_a_change_is_of_the_row_as_it_is(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(store_closep) struct store *other = open_store(*state);
	CLEANUP(container_freep) struct container *container = NULL;
	CLEANUP(container_freep) struct container *read = NULL;
	int result = -EPERM;

	assert_int_equal(insert(store, "u-1", "one", 1, NULL), 0);
	assert_int_equal(containers_get(store, "one", &container, NULL), 0);
	container->config.pids_limit = 99;
	assert_int_equal(containers_update_config(other, container, NULL), 0);
	assert_int_equal(containers_change_config(store, "u-1", set_cpus, &result, NULL), -EPERM);
	assert_int_equal(containers_get(other, "one", &read, NULL), 0);
	assert_int_equal(read->config.cpus, container->config.cpus);
	result = 0;
	assert_int_equal(containers_change_config(store, "u-1", set_cpus, &result, NULL), 0);
	container_free(TAKE_PTR(read));
	assert_int_equal(containers_get(other, "one", &read, NULL), 0);
	assert_int_equal(read->config.cpus, 7);
	assert_int_equal(read->config.pids_limit, 99);
	assert_int_equal(containers_change_config(store, "u-2", set_cpus, &result, NULL), -ENOENT);
	/* No transaction is left open. */
	assert_int_equal(store_begin(other, NULL), 0);
	store_rollback(other);
}

static void assert_found(struct store *store, const char *id, const char *uuid)
{
	CLEANUP(container_freep) struct container *container = NULL;
	struct err err = { 0 };

	if (containers_get(store, id, &container, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(container->uuid, uuid);
}

static void test_prefixes(void **state)
{
	static const char *const missing[] = { "", "x", "a*", "%", "AB12-0000", "\xff", "web9" };
	CLEANUP(store_closep) struct store *store = open_store(*state);
	struct container *none = NULL;
	struct err err = { 0 };

	assert_int_equal(insert(store, "ab12-0000", "ab12-0000", 1, NULL), 0);
	assert_int_equal(insert(store, "ac34-0000", "web", 2, NULL), 0);
	assert_int_equal(insert(store, "bd56-0000", "web2", 3, NULL), 0);
	assert_found(store, "ab12-0000", "ab12-0000");
	assert_found(store, "ab", "ab12-0000");  /* id and uuid of one container: not ambiguous */
	assert_found(store, "ac", "ac34-0000");  /* prefix of a uuid */
	assert_found(store, "web", "ac34-0000"); /* exact beats prefix */
	assert_found(store, "bd56-0000", "bd56-0000");
	assert_int_equal(containers_get(store, "we", &none, &err), -EINVAL);
	assert_string_equal(err.message, "container id 'we' is ambiguous: it begins web, web2");
	assert_int_equal(containers_get(store, "a", &none, &err), -EINVAL);
	assert_int_equal(insert(store, "cccc", "ab1", 4, NULL), 0);
	assert_found(store, "ab1", "cccc");
	assert_int_equal(containers_delete(store, "cccc", NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(missing); i++) {
		assert_int_equal(containers_get(store, missing[i], &none, &err), -ENOENT);
		assert_true(str_starts(err.message, "container not found: "));
	}
	for (int i = 0; i < 9; i++) {
		char id[32];

		snprintf(id, sizeof(id), "many-%d", i);
		assert_int_equal(insert(store, id, id, 5, NULL), 0);
	}
	assert_int_equal(containers_get(store, "many", &none, &err), -EINVAL);
	assert_string_equal(err.message,
			    "container id 'many' is ambiguous: it begins many-0, many-1, "
			    "many-2, many-3, …");
}

/* The id of one container may be the uuid of another: the id is meant. */
static void test_id_beats_uuid(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);

	assert_int_equal(insert(store, "aaaa", "web", 1, NULL), 0);
	assert_int_equal(insert(store, "bbbb", "aaaa", 2, NULL), 0);
	assert_found(store, "aaaa", "bbbb");
}

static void test_list_is_newest_first(void **state)
{
	static const char *const order[] = { "newest", "late", "early", "old" };
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(container_list_release) struct container_list list = { 0 };

	assert_int_equal(insert(store, "1", "old", 10, NULL), 0);
	assert_int_equal(insert(store, "2", "newest", 30, NULL), 0);
	assert_int_equal(insert(store, "3", "early", 20, NULL), 0);
	assert_int_equal(insert(store, "4", "late", 20, NULL), 0);
	assert_int_equal(containers_list(store, &list, NULL), 0);
	assert_int_equal(list.count, ARRAY_SIZE(order));
	for (size_t i = 0; i < list.count; i++)
		assert_string_equal(list.items[i]->config.id, order[i]);
}

static char **strv_of(const char *a, const char *b)
{
	char **strv = NULL;

	strv_push(&strv, a);
	strv_push(&strv, b);
	return strv;
}

static void fill_parts(struct container_config *config)
{
	struct mount_config mount = { xstrdup("bind"), xstrdup("/src"), xstrdup("/dst"),
				      strv_of("ro", "size=1m") };
	struct mount_config tmpfs = { .type = xstrdup("tmpfs"), .destination = xstrdup("/tmp") };
	struct port_config port = { xstrdup("::1"), 8080, 80, xstrdup("tcp"), 3 };
	struct network_config network = { xstrdup("default"), xstrdup("web"),
					  xstrdup("02:00:00:00:00:01"), 1400 };
	struct network_config plain = { .network = xstrdup("none") };
	struct rlimit_config files = { xstrdup("RLIMIT_NOFILE"), 1024, UINT64_MAX };
	struct rlimit_config core = { xstrdup("RLIMIT_CORE"), 0, 0 };

	VEC_PUSH(&config->mounts, mount);
	VEC_PUSH(&config->mounts, tmpfs);
	VEC_PUSH(&config->ports, port);
	VEC_PUSH(&config->networks, network);
	VEC_PUSH(&config->networks, plain);
	VEC_PUSH(&config->process.rlimits, files);
	VEC_PUSH(&config->process.rlimits, core);
}

/* A configuration with every member set to something that is not its default. */
static void fill_config(struct container_config *config)
{
	config->id = xstrdup("web");
	config->image.reference = xstrdup("docker.io/library/x:1");
	config->image.media_type = xstrdup("application/vnd.oci.image.index.v1+json");
	config->image.digest = xstrdup("sha256:aa");
	config->image.size = 1234;
	config->manifest_digest = xstrdup("sha256:bb");
	config->root_key = xstrdup("cc");
	json_object_set_new(config->labels, "b", json_string("2"));
	json_object_set_new(config->labels, "a", json_string(""));
	config->sysctls = strv_of("net.a=1", "net.b=x=y");
	config->process.executable = xstrdup("/bin/sh");
	config->process.arguments = strv_of("-c", "");
	config->process.environment = strv_of("A=1", "B=ü=\"\n");
	config->process.working_directory = xstrdup("/w");
	config->process.terminal = true;
	config->process.stdin_open = true;
	config->process.user = xstrdup("0:0");
	config->process.supplemental_groups = strv_of("27", "wheel");
	strv_push(&config->process.supplemental_groups, "007");
	config->platform.os = xstrdup("linux");
	config->platform.architecture = xstrdup("arm64");
	config->platform.variant = xstrdup("v8");
	config->cpus = 2;
	config->memory_bytes = 3ull << 40;
	config->pids_limit = 77;
	config->read_only = config->use_init = config->privileged = config->auto_remove = true;
	config->cap_add = strv_of("NET_ADMIN", "SYS_TIME");
	config->cap_drop = strv_of("ALL", "X");
	config->shm_bytes = 1 << 20;
	config->stop_signal = xstrdup("QUIT");
	config->masked_paths = strv_of("/proc/a", "/proc/b");
	config->read_only_paths = strv_of("/proc/c", "/proc/d");
	config->default_masked_paths = config->default_read_only_paths = false;
	config->hostname = xstrdup("host");
	config->kernel = xstrdup("/k");
	config->restart = xstrdup("on-failure:3");
	config->created_at = 1700000000;
	fill_parts(config);
}

/* The text as the command line's contract has it; keys sorted, absent members left out. */
static const char full_config[] =
	"{\"capAdd\":[\"NET_ADMIN\",\"SYS_TIME\"],\"capDrop\":[\"ALL\",\"X\"],"
	"\"creationDate\":\"2023-11-14T22:13:20Z\","
	"\"hull\":{\"autoRemove\":true,\"defaultMaskedPaths\":false,\"defaultReadonlyPaths\":false,"
	"\"hostname\":\"host\",\"kernel\":\"/k\",\"manifestDigest\":\"sha256:bb\",\"pidsLimit\":77,"
	"\"privileged\":true,\"restart\":\"on-failure:3\",\"rootKey\":\"cc\",\"stdinOpen\":true},"
	"\"id\":\"web\",\"image\":{\"descriptor\":{\"digest\":\"sha256:aa\","
	"\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"size\":1234},"
	"\"reference\":\"docker.io/library/x:1\"},"
	"\"initProcess\":{\"arguments\":[\"-c\",\"\"],\"environment\":[\"A=1\",\"B=ü=\\\"\\n\"],"
	"\"executable\":\"/bin/"
	"sh\",\"rlimits\":[{\"hard\":-1,\"limit\":\"RLIMIT_NOFILE\",\"soft\":1024},"
	"{\"hard\":0,\"limit\":\"RLIMIT_CORE\",\"soft\":0}],"
	"\"supplementalGroups\":[27,\"wheel\",\"007\"],\"terminal\":true,"
	"\"user\":{\"raw\":{\"userString\":\"0:0\"}},\"workingDirectory\":\"/w\"},"
	"\"labels\":{\"a\":\"\",\"b\":\"2\"},\"maskedPaths\":[\"/proc/a\",\"/proc/b\"],"
	"\"mounts\":[{\"destination\":\"/dst\",\"options\":[\"ro\",\"size=1m\"],\"source\":\"/"
	"src\","
	"\"type\":\"bind\"},{\"destination\":\"/tmp\",\"options\":[],\"type\":\"tmpfs\"}],"
	"\"networks\":[{\"network\":\"default\",\"options\":{\"hostname\":\"web\","
	"\"macAddress\":\"02:00:00:00:00:01\",\"mtu\":1400}},{\"network\":\"none\",\"options\":{}}]"
	","
	"\"platform\":{\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":\"v8\"},"
	"\"publishedPorts\":[{\"containerPort\":80,\"count\":3,\"hostAddress\":\"::1\","
	"\"hostPort\":8080,"
	"\"proto\":\"tcp\"}],\"publishedSockets\":[],\"readOnly\":true,"
	"\"readonlyPaths\":[\"/proc/c\",\"/proc/d\"],"
	"\"resources\":{\"cpus\":2,\"memoryInBytes\":3298534883328},\"shmSize\":1048576,\"ssh\":"
	"false,"
	"\"stopSignal\":\"QUIT\",\"sysctls\":{\"net.a\":\"1\",\"net.b\":\"x=y\"},\"useInit\":true}";

static const char empty_config[] =
	"{\"capAdd\":[],\"capDrop\":[],\"creationDate\":\"1970-01-01T00:00:00Z\","
	"\"hull\":{\"autoRemove\":false,\"defaultMaskedPaths\":true,\"defaultReadonlyPaths\":true,"
	"\"privileged\":false,\"stdinOpen\":false},\"id\":\"x\",\"image\":{\"descriptor\":{"
	"\"size\":0}},"
	"\"initProcess\":{\"arguments\":[],\"environment\":[],\"rlimits\":[],"
	"\"supplementalGroups\":[],"
	"\"terminal\":false,\"user\":{\"id\":{\"gid\":0,\"uid\":0}}},\"labels\":{},\"mounts\":[],"
	"\"networks\":[],\"platform\":{},\"publishedPorts\":[],\"publishedSockets\":[],"
	"\"readOnly\":false,\"resources\":{\"cpus\":0,\"memoryInBytes\":0},\"ssh\":false,"
	"\"sysctls\":{},\"useInit\":false}";

static void assert_round_trip(const struct container_config *config, const char *expected)
{
	CLEANUP(container_config_release) struct container_config read = { 0 };
	AUTO_JSON json_t *json = container_config_to_json(config);
	AUTO_FREE char *text = json_text(json);
	struct err err = { 0 };

	assert_string_equal(text, expected);
	if (container_config_from_json(json, &read, &err) < 0)
		fail_msg("%s", err.message);
	AUTO_JSON json_t *again = container_config_to_json(&read);
	AUTO_FREE char *text_again = json_text(again);
	assert_string_equal(text_again, expected);
}

static void test_config_round_trip(void **state)
{
	CLEANUP(container_config_release) struct container_config full;
	CLEANUP(container_config_release) struct container_config empty;

	container_config_init(&full);
	fill_config(&full);
	assert_round_trip(&full, full_config);
	container_config_init(&empty);
	empty.id = xstrdup("x");
	assert_round_trip(&empty, empty_config);
}

static void test_config_through_the_store(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	CLEANUP(container_freep) struct container *read = NULL;
	struct container container;

	container_init(&container, "u-1", "gone");
	free(container.config.id);
	fill_config(&container.config);
	assert_int_equal(containers_insert(store, &container, NULL), 0);
	assert_int_equal(containers_get(store, "web", &read, NULL), 0);
	assert_round_trip(&read->config, full_config);
	assert_string_equal(read->config.process.environment[1], "B=ü=\"\n");
	assert_true(read->config.process.rlimits.items[0].hard == UINT64_MAX);
	assert_string_equal(read->config.sysctls[1], "net.b=x=y");
	container_config_release(&container.config);
}

static void test_config_user(void **state)
{
	CLEANUP(container_config_release) struct container_config config = { 0 };
	const char *text =
		"{\"id\":\"x\",\"initProcess\":{\"user\":{\"id\":{\"uid\":5,\"gid\":6}}}}";
	AUTO_JSON json_t *json = json_loads(text, 0, NULL);

	assert_int_equal(container_config_from_json(json, &config, NULL), 0);
	assert_string_equal(config.process.user, "5:6");
	assert_true(config.default_masked_paths);
	process_config_release(&config.process);
	assert_null(config.process.user);
}

static void test_config_refuses_garbage(void **state)
{
	static const char *const texts[] = {
		"[]",
		"1",
		"null",
		"{}",
		"{\"id\":1}",
		"{\"id\":null}",
		"{\"id\":\"x\",\"odd\":1}",
		"{\"id\":\"x\",\"hull\":{\"odd\":1}}",
		"{\"id\":\"x\",\"hull\":[]}",
		"{\"id\":\"x\",\"mounts\":{}}",
		"{\"id\":\"x\",\"mounts\":[{\"type\":\"bind\"},1]}",
		"{\"id\":\"x\",\"mounts\":[{\"odd\":\"bind\"}]}",
		"{\"id\":\"x\",\"mounts\":[{\"options\":[1]}]}",
		"{\"id\":\"x\",\"labels\":{\"a\":1}}",
		"{\"id\":\"x\",\"labels\":[]}",
		"{\"id\":\"x\",\"sysctls\":{\"a\":1}}",
		"{\"id\":\"x\",\"sysctls\":[]}",
		"{\"id\":\"x\",\"resources\":{\"cpus\":-1}}",
		"{\"id\":\"x\",\"resources\":{\"cpus\":4294967296}}",
		"{\"id\":\"x\",\"resources\":{\"cpus\":1.5}}",
		"{\"id\":\"x\",\"readOnly\":0}",
		"{\"id\":\"x\",\"creationDate\":\"yesterday\"}",
		"{\"id\":\"x\",\"creationDate\":3}",
		"{\"id\":\"x\",\"creationDate\":\"2023-11-14T22:13:20Zx\"}",
		"{\"id\":\"x\",\"initProcess\":{\"user\":\"root\"}}",
		"{\"id\":\"x\",\"initProcess\":{\"user\":{\"id\":{\"uid\":1}}}}",
		"{\"id\":\"x\",\"initProcess\":{\"user\":{\"id\":{},\"raw\":{}}}}",
		"{\"id\":\"x\",\"initProcess\":{\"arguments\":[null]}}",
		"{\"id\":\"x\",\"initProcess\":{\"supplementalGroups\":[-1]}}",
		"{\"id\":\"x\",\"initProcess\":{\"rlimits\":[{\"soft\":-2}]}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		AUTO_JSON json_t *json = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		struct container_config config = { .cpus = 9 };
		struct err err = { 0 };

		assert_non_null(json);
		if (container_config_from_json(json, &config, &err) != -EBADMSG)
			fail_msg("accepted: %s", texts[i]);
		assert_true(str_starts(err.message, "not a container's configuration: "));
		assert_int_equal(config.cpus, 9);
	}
}

static void test_config_refuses_other_encodings(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	struct container container;
	struct err err = { 0 };

	container_init(&container, "u-1", "web");
	container.config.process.environment = strv_of("A=\xe9", "B=1");
	assert_int_equal(containers_insert(store, &container, &err), -EINVAL);
	assert_non_null(strstr(err.message, "UTF-8"));
	container_config_release(&container.config);
}

static void test_bad_row_names_its_container(void **state)
{
	CLEANUP(store_closep) struct store *store = open_store(*state);
	struct container *none = NULL;
	struct err err = { 0 };

	assert_int_equal(insert(store, "u-1", "web", 1, NULL), 0);
	run_sql(*state, "UPDATE containers SET config = '{\"id\":'");
	assert_int_equal(containers_get(store, "web", &none, &err), -EBADMSG);
	assert_true(str_starts(err.message, "container 'web': "));
}

#define WRITERS 4
#define ROWS_EACH 250

/* Inserts, updates and, of every second one, deletes rows of its own. */
static int write_rows(const char *root, int writer)
{
	CLEANUP(store_closep) struct store *store = NULL;
	struct err err = { 0 };

	for (int i = 0; i < ROWS_EACH; i++) {
		struct container container;
		char uuid[32];
		int r = 0;

		if (i % 25 == 0) { /* many short-lived openers, as commands are */
			store_close(store);
			store = NULL;
			r = store_open(root, &store, &err);
		}
		snprintf(uuid, sizeof(uuid), "u-%d-%d", writer, i);
		container_init(&container, uuid, uuid);
		container.config.auto_remove = i % 3 == 0;
		if (r == 0)
			r = containers_insert(store, &container, &err);
		container.state = CONTAINER_RUNNING;
		if (r == 0)
			r = containers_update(store, &container, &err);
		if (r == 0 && i % 2)
			r = containers_delete(store, uuid, &err);
		container_config_release(&container.config);
		if (r < 0) {
			fprintf(stderr, "writer %d, row %d: %s\n", writer, i, err.message);
			return 1;
		}
	}
	return 0;
}

static void test_processes_write_at_once(void **state)
{
	CLEANUP(container_list_release) struct container_list list = { 0 };
	pid_t pids[WRITERS];

	for (int w = 0; w < WRITERS; w++) { /* they race to make the database, too */
		pids[w] = fork();
		assert_true(pids[w] >= 0);
		if (pids[w] == 0)
			_exit(write_rows(*state, w));
	}
	for (int w = 0; w < WRITERS; w++) {
		int status = -1;

		assert_int_equal(waitpid(pids[w], &status, 0), pids[w]);
		assert_int_equal(status, 0);
	}
	CLEANUP(store_closep) struct store *store = open_store(*state);
	assert_int_equal(containers_list(store, &list, NULL), 0);
	assert_int_equal(list.count, WRITERS * ROWS_EACH / 2);
	VEC_EACH (&list, it)
		assert_int_equal((*it)->state, CONTAINER_RUNNING);
}

/* Writes rows for ever; a byte on the pipe says that one more is committed. */
static void write_until_killed(const char *root, int pipe_fd, int round)
{
	CLEANUP(store_closep) struct store *store = NULL;

	if (store_open(root, &store, NULL) < 0)
		_exit(1);
	for (int i = 0;; i++) {
		char uuid[32];

		snprintf(uuid, sizeof(uuid), "k-%d-%d", round, i);
		if (insert(store, uuid, uuid, i, NULL) < 0 || write(pipe_fd, "x", 1) != 1)
			_exit(1);
	}
}

static void test_killed_writer_loses_nothing(void **state)
{
	size_t committed = 0;

	for (int round = 0; round < 10; round++) {
		CLEANUP(container_list_release) struct container_list list = { 0 };
		char bytes[4096];
		ssize_t n;
		size_t seen = 0;
		int fds[2];

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			write_until_killed(*state, fds[1], round);
		close(fds[1]);
		while (seen < (size_t)(round * 7 + 1) && (n = read(fds[0], bytes, 1)) > 0)
			seen += (size_t)n;
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while ((n = read(fds[0], bytes, sizeof(bytes))) > 0)
			seen += (size_t)n;
		close(fds[0]);
		committed += seen;

		CLEANUP(store_closep) struct store *store = open_store(*state);
		assert_int_equal(containers_list(store, &list, NULL), 0);
		/* One may have been committed and not yet reported, in each round. */
		assert_in_range(list.count, committed, committed + 1);
		committed = list.count;
	}
}

static int fill_until_full(struct store *store, struct err *err)
{
	for (int i = 0; i < 100000; i++) {
		struct image_row row = { .digest = (char *)"sha256:a", .size = 1 };
		AUTO_FREE char *reference = xasprintf("docker.io/library/%0500d:1", i);
		int r;

		row.reference = reference;
		r = images_set(store, &row, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void assert_full_is_told(struct store *store, int code)
{
	struct err err = { 0 };
	CLEANUP(image_rows_release) struct image_rows rows = { 0 };

	assert_int_equal(fill_until_full(store, &err), code);
	assert_non_null(strstr(err.message, "hull.db': "));
	assert_non_null(strstr(err.message, strerror(-code)));
	/* What was there can still be read, and there is no half row. */
	assert_int_equal(images_list(store, &rows, &err), 0);
	VEC_EACH (&rows, row)
		assert_string_equal(row->digest, "sha256:a");
}

static void test_full_disk_in_child(const char *root)
{
	struct rlimit limit = { 1 << 20, 1 << 20 };
	struct store *store = open_store(root);

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	assert_full_is_told(store, -EFBIG);
	store_close(store);
}

static void test_full_disk(void **state)
{
	struct err err = { 0 };
	int status = -1;

	if (mount("tmpfs", *state, "tmpfs", 0, "size=1m") == 0) {
		CLEANUP(store_closep) struct store *store = open_store(*state);

		umount2(*state, MNT_DETACH); /* goes with its last open file */
		assert_full_is_told(store, -ENOSPC);
		return;
	}
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		test_full_disk_in_child(*state);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	CLEANUP(store_closep) struct store *store = open_store(*state);
	assert_int_equal(store_set_setting(store, "a", "1", &err), 0);
}

static void test_full_disk_at_first_open(void **state)
{
	struct store *store = NULL;
	struct err err = { 0 };

	if (mount("tmpfs", *state, "tmpfs", 0, "size=8k") < 0)
		skip();
	int r = store_open(*state, &store, &err);
	umount2(*state, MNT_DETACH);
	assert_int_equal(r, -ENOSPC);
	assert_non_null(strstr(err.message, "No space left on device"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_IN_DIR(test_open_makes_a_private_file),
		TEST_IN_DIR(test_open_without_directory),
		TEST_IN_DIR(test_open_refuses_newer_schema),
		TEST_IN_DIR(test_open_refuses_foreign_database),
		TEST_IN_DIR(test_open_reports_garbage),
		TEST_IN_DIR(test_damaged_pages_are_reported),
		TEST_IN_DIR(test_empty_file_becomes_a_database),
		TEST_IN_DIR(test_settings),
		TEST_IN_DIR(test_transactions),
		TEST_IN_DIR(test_images),
		TEST_IN_DIR(test_volumes),
		TEST_IN_DIR(test_containers_life),
		TEST_IN_DIR(test_every_state_is_kept),
		TEST_IN_DIR(test_rename_and_reconfigure),
		TEST_IN_DIR(test_a_change_is_of_the_row_as_it_is),
		TEST_IN_DIR(test_prefixes),
		TEST_IN_DIR(test_id_beats_uuid),
		TEST_IN_DIR(test_list_is_newest_first),
		cmocka_unit_test(test_config_round_trip),
		TEST_IN_DIR(test_config_through_the_store),
		cmocka_unit_test(test_config_user),
		cmocka_unit_test(test_config_refuses_garbage),
		TEST_IN_DIR(test_config_refuses_other_encodings),
		TEST_IN_DIR(test_bad_row_names_its_container),
		TEST_IN_DIR(test_processes_write_at_once),
		TEST_IN_DIR(test_killed_writer_loses_nothing),
		TEST_IN_DIR(test_full_disk),
		TEST_IN_DIR(test_full_disk_at_first_open),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
