/* SPDX-License-Identifier: Apache-2.0 */
/* The command line above a fake engine: words in; calls, output and exit status out. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/mount_options.h"
#include "cli/options.h"
#include "cli/parse.h"
#include "cli/run_options.h"
#include "fake_engine.h"

/* --- running the command line --- */

static char *out, *errors; /* what the last run wrote */

static char *read_all(int fd)
{
	char *text = NULL;

	lseek(fd, 0, SEEK_SET);
	assert_int_equal(fd_read_text(fd, 1 << 20, &text, NULL), 0);
	return text;
}

static int run_words(char **words)
{
	static char *environment[] = { "OURS=1", "EMPTY=", NULL };
	struct cli cli = { .environment = environment };
	AUTO_CLOSE int new_out = memfd_create("out", MFD_CLOEXEC);
	AUTO_CLOSE int new_err = memfd_create("err", MFD_CLOEXEC);
	AUTO_CLOSE int old_out = dup(STDOUT_FILENO);
	AUTO_CLOSE int old_err = dup(STDERR_FILENO);
	int status;

	fflush(stdout);
	dup2(new_out, STDOUT_FILENO);
	dup2(new_err, STDERR_FILENO);
	status = cli_main(&cli, (int)strv_count(words), words);
	cli_release(&cli);
	fflush(stdout);
	dup2(old_out, STDOUT_FILENO);
	dup2(old_err, STDERR_FILENO);
	free(out);
	free(errors);
	out = read_all(new_out);
	errors = read_all(new_err);
	log_init("hull", LOG_LEVEL_WARNING);
	return status;
}

#define RUN(...) run_words((char *[]){ "hull", __VA_ARGS__, NULL })

static int reset(void **state)
{
	fake_reset();
	return 0;
}

/* --- parsing of options --- */

enum fruit { APPLE, PEAR };
static const char *const fruits[] = { "apple", "pear", NULL };
struct sample_options {
	bool all, quiet, sift;
	const char *name;
	char **list;
	uint64_t size_bytes;
	uint32_t count;
	int fruit;
};
static const struct option_spec sample_options[] = {
	OPT_FLAG("all", 'a', struct sample_options, all, "all"),
	OPT_FLAG("quiet", 'q', struct sample_options, quiet, "quiet"),
	OPT_FLAG("sift", 0, struct sample_options, sift, "sift"),
	OPT_STRING("name", 'n', "NAME", struct sample_options, name, "name", .alias = "nom"),
	OPT_LIST("list", 'l', "X", struct sample_options, list, "list"),
	OPT_SIZE("size", 0, "SIZE", struct sample_options, size_bytes, "size", .minimum = 1),
	OPT_U32("count", 'c', "N", struct sample_options, count, "count", .initial = 9),
	OPT_CHOICE("fruit", 0, fruits, struct sample_options, fruit, "fruit", .initial = PEAR),
	OPT_END,
};
static const struct option_group sample_groups[] = { { NULL, sample_options, 0 }, { 0 } };
static const struct command permuting = { .name = "p", .groups = sample_groups };
static const struct command ordered = { .name = "o",
					.groups = sample_groups,
					.options_first = true };

static int parse(const struct command *command, char **words, struct sample_options *values,
		 int *ret_first, struct err *err)
{
	struct common_options common = { 0 };

	*values = (struct sample_options){ 0 };
	options_init(command, values);
	return options_parse(command, (int)strv_count(words), words, values, &common, ret_first,
			     err);
}

#define WORDS(...) ((char *[]){ "x", __VA_ARGS__, NULL })

static void test_options_of_every_type(void **state)
{
	char **words = WORDS("-aqn", "joe", "--size=2k", "arg", "-l1", "--list", "2", "--fruit",
			     "apple", "-c", "3");
	struct sample_options values;
	int first = 0;

	assert_int_equal(parse(&permuting, words, &values, &first, NULL), 0);
	assert_true(values.all && values.quiet);
	assert_string_equal(values.name, "joe");
	assert_int_equal(values.size_bytes, 2048);
	assert_int_equal(values.count, 3);
	assert_int_equal(values.fruit, APPLE);
	assert_int_equal(strv_count(values.list), 2);
	assert_string_equal(values.list[1], "2");
	assert_string_equal(words[first], "arg");
	options_release(&permuting, &values);
}

static void test_options_have_initial_values_and_aliases(void **state)
{
	struct sample_options values;
	int first = 0;

	assert_int_equal(parse(&permuting, WORDS("--nom=x"), &values, &first, NULL), 0);
	assert_string_equal(values.name, "x");
	assert_int_equal(values.count, 9);
	assert_int_equal(values.fruit, PEAR);
}

static void test_options_end_at_the_first_other_word(void **state)
{
	char **words = WORDS("-a", "image", "-q", "--unknown");
	struct sample_options values;
	int first = 0;

	assert_int_equal(parse(&ordered, words, &values, &first, NULL), 0);
	assert_true(values.all);
	assert_false(values.quiet);
	assert_string_equal(words[first], "image");
	assert_string_equal(words[first + 1], "-q");
}

static void test_options_that_are_wrong(void **state)
{
	static const struct {
		char *word;
		const char *message;
	} cases[] = {
		{ "--quite", "unknown option '--quite'; did you mean '--quiet'?" },
		{ "--zzzzzz=1", "unknown option '--zzzzzz'" },
		{ "-az", "unknown option '-z'" },
		{ "--name", "option '--name' needs a value" },
		{ "-n", "option '--name' needs a value" },
		{ "--all=yes", "option '--all' takes no value" },
		{ "--si=1", "option '--si' is ambiguous" },
		{ "--size=lots", "invalid size 'lots' for '--size': it is like 512m or 2g" },
		{ "--size=0", "'--size' is more than 0" },
		{ "--count=-1", "invalid number '-1' for '--count'" },
		{ "--fruit=fig", "invalid value 'fig' for '--fruit': it is one of apple, pear" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sample_options values;
		struct err err = { 0 };
		int first = 0;

		assert_int_equal(parse(&permuting, WORDS(cases[i].word), &values, &first, &err),
				 -EINVAL);
		assert_string_equal(err.message, cases[i].message);
	}
}

/* --- the table --- */

typedef void (*visit_fn)(const struct command_path *path, void *ctx);

static void visit(const struct command_path *path, visit_fn fn, void *ctx)
{
	const struct command *command = command_path_last(path);

	fn(path, ctx);
	for (const struct command *const *it = command->subcommands; it && *it; it++) {
		struct command_path below = *path;

		below.items[below.count++] = *it;
		visit(&below, fn, ctx);
	}
}

static void visit_all(visit_fn fn, void *ctx)
{
	struct command_path root = { { &command_root }, 1 };

	visit(&root, fn, ctx);
}

static void check_help(const struct command_path *path, void *ctx)
{
	const struct command *command = command_path_last(path);
	AUTO_SBUF struct sbuf text = { 0 };
	AUTO_STRV char **lines = NULL;

	assert_non_null(command->summary);
	assert_true((command->run != NULL) != (command->subcommands != NULL));
	assert_true(command->min_args == 0 || command->args != NULL);
	assert_true(command->groups == NULL || command->options_size > 0);
	help_render(path, &text);
	assert_non_null(strstr(text.text, "--help"));
	lines = str_split(text.text, '\n', 0);
	STRV_EACH (lines, it) {
		if (strlen(*it) > HELP_COLUMNS || str_ends(*it, " "))
			fail_msg("help of %s: '%s'", command->name, *it);
	}
}

static void test_every_command_has_help_that_fits(void **state)
{
	visit_all(check_help, NULL);
}

static void check_unique(const struct command_path *path, void *ctx)
{
	const struct command *command = command_path_last(path);
	bool letters[256] = { ['h'] = true };
	AUTO_STRV char **names = NULL;

	for (const struct option_group *group = command->groups; group && group->options; group++) {
		for (const struct option_spec *it = group->options; it->name; it++) {
			assert_non_null(it->help);
			assert_true(it->type != OPTION_CHOICE || it->choices);
			if (strv_contains(names, it->name) ||
			    (it->letter && letters[(unsigned char)it->letter]))
				fail_msg("%s has '--%s' or its letter twice", command->name,
					 it->name);
			letters[(unsigned char)it->letter] = true;
			strv_push(&names, it->name);
			if (it->alias)
				strv_push(&names, it->alias);
		}
	}
}

static void test_no_option_is_there_twice(void **state)
{
	visit_all(check_unique, NULL);
}

/* --- the manual --- */

/* "run --name" … for every option of the visible commands. */
static void collect_options(const struct command_path *path, void *ctx)
{
	const struct command *command = command_path_last(path);
	AUTO_FREE char *words = command_path_text(path);
	char ***all = ctx;

	if (command->hidden || command->subcommands)
		return;
	strv_push(all, words);
	for (const struct option_group *group = command->groups; group && group->options; group++) {
		for (const struct option_spec *it = group->options; it->name; it++) {
			AUTO_SBUF struct sbuf text = { 0 };

			sbuf_addf(&text, "%s ", words);
			if (it->letter)
				sbuf_addf(&text, "-%c ", it->letter);
			sbuf_addf(&text, "--%s", it->name);
			if (it->alias)
				sbuf_addf(&text, " --%s", it->alias);
			strv_push(all, text.text);
		}
	}
}

/* "-m --memory" of "*-m*, *--memory* _SIZE_". */
static char *option_of_line(const char *line)
{
	struct sbuf text = { 0 };

	while (str_starts(line, "*-")) {
		size_t length = strcspn(line + 1, "*");

		sbuf_addf(&text, "%s%.*s", text.length ? " " : "", (int)length, line + 1);
		line += length + 2;
		if (str_starts(line, ", "))
			line += 2;
	}
	return sbuf_take(&text);
}

/* A section "## hull run, hull create" describes the options of both. */
static void collect_page(const char *path, char ***all)
{
	AUTO_FREE char *page = NULL;
	AUTO_STRV char **lines = NULL;
	AUTO_STRV char **commands = NULL;

	assert_int_equal(file_read(path, 1 << 20, &page, NULL, NULL), 0);
	lines = str_split(page, '\n', 0);
	STRV_EACH (lines, line) {
		const char *heading = str_after(*line, "## hull ");

		if (**line == '#')
			commands = strv_free(commands);
		if (heading) {
			commands = str_split(*line + 3, ',', 0);
			STRV_EACH (commands, it)
				strv_push(all, **it == ' ' ? *it + 1 : *it);
		}
		STRV_EACH (str_starts(*line, "*-") ? commands : NULL, it) {
			AUTO_FREE char *option = option_of_line(*line);
			AUTO_FREE char *text =
				xasprintf("%s %s", **it == ' ' ? *it + 1 : *it, option);

			strv_push(all, text);
		}
	}
}

static void test_the_manual_has_every_option_and_no_other(void **state)
{
	static const char *const pages[] = {
		"hull.1",        "hull-run.1",      "hull-exec.1",    "hull-copy.1",
		"hull-export.1", "hull-start.1",    "hull-list.1",    "hull-image.1",
		"hull-system.1", "hull-network.1",  "hull-volume.1",  "hull-suspend.1",
		"hull-fork.1",   "hull-snapshot.1", "hull-registry.1"
	};
	const char *root = getenv("HULL_SOURCE_ROOT");
	AUTO_STRV char **table = NULL;
	AUTO_STRV char **manual = NULL;

	if (!root)
		skip();
	visit_all(collect_options, &table);
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		AUTO_FREE char *path = path_join(root, "docs/man/%s.scd", pages[i]);

		collect_page(path, &manual);
	}
	STRV_EACH (table, it)
		if (!strv_contains(manual, *it))
			fail_msg("the manual lacks '%s'", *it);
	STRV_EACH (manual, it)
		if (!strv_contains(table, *it))
			fail_msg("only the manual has '%s'", *it);
}

/* --- words --- */

static void test_names(void **state)
{
	char longest[65];

	assert_int_equal(parse_container_name("a1", NULL), 0);
	assert_int_equal(parse_container_name("Web_1.b-c", NULL), 0);
	assert_int_equal(parse_container_name("a", NULL), -EINVAL);
	assert_int_equal(parse_container_name("-ab", NULL), -EINVAL);
	assert_int_equal(parse_container_name("a b", NULL), -EINVAL);
	assert_int_equal(parse_container_name("", NULL), -EINVAL);
	memset(longest, 'x', 64);
	longest[64] = '\0';
	assert_int_equal(parse_container_name(longest, NULL), -EINVAL);
	longest[63] = '\0';
	assert_int_equal(parse_container_name(longest, NULL), 0);
}

static void test_ulimits(void **state)
{
	static const struct {
		const char *text, *name;
		uint64_t soft, hard;
	} good[] = {
		{ "nofile=1024:2048", "RLIMIT_NOFILE", 1024, 2048 },
		{ "NPROC=5", "RLIMIT_NPROC", 5, 5 },
		{ "RLIMIT_CORE=unlimited", "RLIMIT_CORE", UINT64_MAX, UINT64_MAX },
		{ "stack=1:-1", "RLIMIT_STACK", 1, UINT64_MAX },
	};
	static const char *const bad[] = { "nofile",   "nofile=",      "files=1", "nofile=2:1",
					   "nofile=a", "nofile=1:2:3", "=1" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct rlimit_config limit = { 0 };

		assert_int_equal(parse_ulimit(good[i].text, &limit, NULL), 0);
		assert_string_equal(limit.name, good[i].name);
		assert_true(limit.soft == good[i].soft && limit.hard == good[i].hard);
		free(limit.name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rlimit_config limit = { 0 };

		assert_int_equal(parse_ulimit(bad[i], &limit, NULL), -EINVAL);
	}
}

/* One mount as "type source destination option …", or what is wrong with the words. */
static char *mount_text(int (*parse_mount)(const char *, struct container_config *, struct err *),
			const char *text)
{
	CLEANUP(container_config_release) struct container_config config;
	AUTO_SBUF struct sbuf words = { 0 };
	struct err err = { 0 };

	container_config_init(&config);
	if (parse_mount(text, &config, &err) < 0) {
		assert_int_equal(err.code, -EINVAL);
		return xstrdup(err.message);
	}
	assert_int_equal(config.mounts.count, 1);
	const struct mount_config *mount = &config.mounts.items[0];

	sbuf_addf(&words, "%s %s %s", mount->type, str_or(mount->source, "-"), mount->destination);
	STRV_EACH (mount->options, it)
		sbuf_addf(&words, " %s", *it);
	return sbuf_take(&words);
}

static void test_mounts(void **state)
{
	static const struct {
		int (*parse)(const char *, struct container_config *, struct err *);
		const char *text, *result;
	} cases[] = {
		{ mount_parse_volume, "data:/x", "volume data /x" },
		{ mount_parse_volume, "data:/x/..y//z/./", "volume data /x/..y/z" },
		{ mount_parse_volume, "/x", "volume - /x" },
		{ mount_parse_volume, "/x:ro", "volume - /x ro" },
		{ mount_parse_volume, "/h:/x:ro,z", "bind /h /x ro" },
		{ mount_parse_volume, "data:/x:nocopy,rw", "volume data /x nocopy" },
		{ mount_parse_volume, "data:x",
		  "invalid mount point 'x': it is not an absolute path" },
		{ mount_parse_volume, "data",
		  "invalid mount point 'data': it is not an absolute path" },
		{ mount_parse_volume, "", "invalid mount point '': it is not an absolute path" },
		{ mount_parse_volume, "a:/", "invalid mount point '/': the root is the image's" },
		{ mount_parse_volume, "a:/x/../..",
		  "invalid mount point '/x/../..': it has '..' in it" },
		{ mount_parse_volume, ":/x", "invalid volume ':/x': its source is empty" },
		{ mount_parse_volume, "a:/x:zz",
		  "unknown option 'zz' of a volume; there are: ro, rw, nocopy" },
		{ mount_parse, "type=volume,source=a,target=/x", "volume a /x" },
		{ mount_parse, "src=a,dst=/x,readonly,volume-nocopy=true",
		  "volume a /x ro nocopy" },
		{ mount_parse, "dst=/x,ro=false", "volume - /x" },
		{ mount_parse, "type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=1770",
		  "tmpfs - /x size=1048576 mode=1770" },
		{ mount_parse, "type=bind,source=/h,target=/x", "bind /h /x" },
		{ mount_parse, "type=bind,target=/x", "mount 'type=bind,target=/x' has no source" },
		{ mount_parse, "type=tmpfs,source=a,target=/x",
		  "mount 'type=tmpfs,source=a,target=/x': a tmpfs has no source" },
		{ mount_parse, "tmpfs-size=1,target=/x",
		  "mount 'tmpfs-size=1,target=/x' mixes 'tmpfs' with type volume" },
		{ mount_parse, "source=a", "mount 'source=a' has no target" },
		{ mount_parse, "type=zz,target=/x",
		  "unknown type 'zz' of a mount; there are: bind, volume, tmpfs" },
		{ mount_parse, "a",
		  "unknown word 'a' in a mount; there are: type, source, target, "
		  "readonly, volume-nocopy, tmpfs-size, tmpfs-mode" },
		{ mount_parse, "target=/x,target=/y",
		  "invalid or repeated 'target=/y' in a mount" },
		{ mount_parse, "type=tmpfs,target=/x,tmpfs-mode=9",
		  "invalid or repeated 'tmpfs-mode=9' in a mount" },
		{ mount_parse_tmpfs, "/x:size=1m,ro", "tmpfs - /x size=1048576 ro" },
		{ mount_parse_tmpfs, "/x:size=50%,uid=5,mode=0755,exec",
		  "tmpfs - /x size=50% uid=5 mode=0755 exec" },
		{ mount_parse_tmpfs, "/x:size=lots", "invalid option 'size=lots' of a tmpfs" },
		{ mount_parse_tmpfs, "/x:mode=8", "invalid option 'mode=8' of a tmpfs" },
		{ mount_parse_tmpfs, "/x:foo", "invalid option 'foo' of a tmpfs" },
		{ mount_parse_tmpfs, "x", "invalid mount point 'x': it is not an absolute path" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		AUTO_FREE char *result = mount_text(cases[i].parse, cases[i].text);

		assert_string_equal(result, cases[i].result);
	}
}

static void test_points_in_time(void **state)
{
	const int64_t now = 2000000000ll * 1000000000;
	int64_t ns = 0;

	assert_int_equal(parse_since("10m", now, &ns, NULL), 0);
	assert_true(ns == now - 600ll * 1000000000);
	assert_int_equal(parse_since("1767323045", now, &ns, NULL), 0);
	assert_true(ns == 1767323045ll * 1000000000);
	assert_int_equal(parse_since("2026-01-02T03:04:05.5Z", now, &ns, NULL), 0);
	assert_true(ns == 1767323045ll * 1000000000);
	assert_int_equal(parse_since("2026-01-02T05:04:05+02:00", now, &ns, NULL), 0);
	assert_true(ns == 1767323045ll * 1000000000);
	assert_int_equal(parse_since("yesterday", now, &ns, NULL), -EINVAL);
	assert_int_equal(parse_since("2026-01-02T03:04:05", now, &ns, NULL), -EINVAL);
}

static void test_environment_files(void **state)
{
	static char *own[] = { "OURS=1", NULL };
	AUTO_FREE char *path = path_join(*state, "env");
	AUTO_STRV char **environment = NULL;
	struct err err = { 0 };
	const char good[] = "\xef\xbb\xbf# comment\n\n  A=1 2\r\nOURS\nNOWHERE\nA=3\nB=x=y # z";
	const char bad[] = "A=1\nB C=2\n";

	assert_int_equal(file_write_atomic(path, good, sizeof(good) - 1, 0600, false, NULL), 0);
	assert_int_equal(env_file(&environment, path, own, &err), 0);
	assert_int_equal(strv_count(environment), 3);
	assert_string_equal(environment[0], "A=3");
	assert_string_equal(environment[1], "OURS=1");
	assert_string_equal(environment[2], "B=x=y # z");
	assert_int_equal(file_write_atomic(path, bad, sizeof(bad) - 1, 0600, false, NULL), 0);
	assert_int_equal(env_file(&environment, path, own, &err), -EINVAL);
	assert_non_null(strstr(err.message, "line 2: the name in 'B C=2' has a space"));
	assert_int_equal(env_file(&environment, "/nonexistent", own, &err), -ENOENT);
	assert_int_equal(env_set(&environment, "=x", own, NULL), -EINVAL);
}

/* --- commands --- */

static const char *created(const char *object, const char *name)
{
	const json_t *from = object ? json_get_object(fake.created, object) : fake.created;

	return json_get_string(from, name);
}

static void test_run_tells_the_engine_all(void **state)
{
	AUTO_FREE char *text = NULL;

	assert_int_equal(RUN("run", "-it", "--name", "new", "-e", "A=1", "-e", "OURS", "-m", "512m",
			     "--cpus=1.5", "--cap-add", "net_admin", "--cap-drop=ALL", "--tmpfs",
			     "/t:size=1m,ro", "-l", "k=v", "--ulimit", "nofile=1:2", "-w", "/w",
			     "--uid", "7", "--gid", "8", "--masked-path", "NONE", "--masked-path",
			     "/m", "--rm", "--platform", "linux/arm64", "alpine", "ls", "-l"),
			 0);
	assert_string_equal(fake.calls.text,
			    "open -\n"
			    "create alpine ls -l pull=missing platform=linux/arm64\n"
			    "start new attached input\n");
	assert_string_equal(created(NULL, "id"), "new");
	assert_string_equal(created("initProcess", "workingDirectory"), "/w");
	text = json_text(fake.created);
	assert_non_null(strstr(text, "\"environment\":[\"A=1\",\"OURS=1\"]"));
	assert_non_null(strstr(text, "\"memoryInBytes\":536870912"));
	assert_non_null(strstr(text, "\"cpuPercent\":150,\"cpus\":2"));
	assert_non_null(strstr(text, "\"capAdd\":[\"CAP_NET_ADMIN\"],\"capDrop\":[\"ALL\"]"));
	assert_non_null(strstr(text, "\"options\":[\"size=1048576\",\"ro\"]"));
	assert_non_null(strstr(text, "\"labels\":{\"k\":\"v\"}"));
	assert_non_null(strstr(text, "\"maskedPaths\":[\"/m\"]"));
	assert_non_null(strstr(text, "RLIMIT_NOFILE"));
}

/* Walks the table: whatever is there is warm by the list below, or refused. */
static void test_what_a_warm_start_refuses(void **state)
{
	static const struct {
		const char *name;
		enum option_warmth warmth;
	} warm[] = {
		{ "detach", WARM },      { "snapshot", WARM },
		{ "name", WARM },        { "remove", WARM },
		{ "interactive", WARM }, { "tty", WARM },
		{ "detach-keys", WARM }, { "progress", WARM_FIND },
		{ "pull", WARM_FIND },   { "platform", WARM_FIND },
		{ "arch", WARM_FIND },   { "os", WARM_FIND },
		{ "scheme", WARM_FIND }, { "max-concurrent-downloads", WARM_FIND },
	};
	struct run_options values;
	size_t met = 0;

	for (const struct option_group *group = cmd_run.groups; group->options; group++)
		for (const struct option_spec *it = group->options; it->name; it++) {
			AUTO_FREE char *name = xasprintf("--%s", it->name);
			char *argv[] = { "run", name,
					 it->choices ? (char *)it->choices[it->initial ? 0 : 1]
						     : "77" };
			struct common_options common = { 0 };
			enum option_warmth warmth = COLD;
			int first;

			for (size_t i = 0; i < ARRAY_SIZE(warm); i++)
				if (str_eq(warm[i].name, it->name))
					warmth = warm[i].warmth;
			met += warmth != COLD;
			memset(&values, 0, sizeof(values));
			options_init(&cmd_run, &values);
			assert_null(options_first_colder(&cmd_run, &values, WARM));
			assert_int_equal(options_parse(&cmd_run, it->type == OPTION_FLAG ? 2 : 3,
						       argv, &values, &common, &first, NULL),
					 0);
			assert_ptr_equal(options_first_colder(&cmd_run, &values, WARM_FIND),
					 warmth >= WARM_FIND ? NULL : it);
			assert_ptr_equal(options_first_colder(&cmd_run, &values, WARM),
					 warmth == WARM ? NULL : it);
			options_release(&cmd_run, &values);
		}
	assert_int_equal(met, ARRAY_SIZE(warm));
	assert_int_equal(RUN("run", "--dns-option", "ndots:2", "--snapshot", "warm"), 125);
	assert_string_equal(errors, "Error: snapshot warm goes on as it was saved: '--dns-option' "
				    "cannot be chosen\n");
	assert_int_equal(RUN("run", "--pull", "always", "--snapshot", "warm"), 125);
	assert_non_null(strstr(errors, "'--pull' cannot be chosen"));
}

static void test_status_is_the_processes_own(void **state)
{
	static const struct {
		int result, told, status;
	} cases[] = {
		{ 0, 0, 0 },           { 0, 42, 42 },
		{ 0, 137, 137 },       { 0, ENGINE_DETACHED, 0 },
		{ -ENOENT, 127, 127 }, { -EACCES, 126, 126 },
		{ -EIO, 0, 125 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_reset();
		fake.start_result = cases[i].result;
		fake.start_status = cases[i].told;
		assert_int_equal(RUN("run", "alpine"), cases[i].status);
		assert_int_equal(RUN("exec", "web", "true"), cases[i].status);
		assert_int_equal(RUN("start", "-a", "db"), cases[i].status);
		assert_int_equal(RUN("attach", "web"), cases[i].status);
		if (cases[i].result)
			assert_string_equal(errors, "Error: it failed\n");
	}
	assert_int_equal(RUN("start", "db"), 1);
	assert_int_equal(RUN("exec", "gone", "true"), 125);
}

static void test_run_that_fails_leaves_nothing(void **state)
{
	fake.start_result = -ENOENT;
	fake.start_status = 127;
	assert_int_equal(RUN("run", "alpine", "nothing"), 127);
	assert_non_null(strstr(fake.calls.text, "start new attached\ndelete new\n"));
}

static void test_run_detached_prints_the_id(void **state)
{
	assert_int_equal(RUN("run", "-d", "--name", "web", "alpine"), 0);
	assert_string_equal(out, "web\n");
	assert_non_null(strstr(fake.calls.text, "start web\n"));
	assert_int_equal(RUN("create", "alpine"), 0);
	assert_string_equal(out, "new\n");
}

static void test_wrong_usage(void **state)
{
	static const struct {
		char *words[6];
		const char *message;
	} cases[] = {
		{ { "rnu" }, "Error: unknown command 'rnu'; did you mean 'run'?\n" },
		{ { "image", "pul" }, "Error: unknown command 'pul'; did you mean 'pull'?\n" },
		{ { "run" }, "Error: 'run' needs IMAGE [ARG...]\n" },
		{ { "exec", "web" }, "Error: 'exec' needs more arguments: CONTAINER COMMAND" },
		{ { "logs", "a", "b" }, "Error: unexpected argument 'b'\n" },
		{ { "run", "--nmae", "x" },
		  "Error: unknown option '--nmae'; did you mean '--name'?" },
		{ { "run", "--name", "_", "x" }, "Error: invalid name '_'" },
		{ { "run", "--cap-add", "ROOT", "x" }, "Error: unknown capability 'ROOT'\n" },
		{ { "run", "-u", "x", "--uid=1", "x" }, "Error: '--user' conflicts with" },
		{ { "run", "--restart", "maybe", "x" }, "Error: invalid restart policy 'maybe'" },
		{ { "run", "-m", "lots", "x" }, "Error: invalid size 'lots' for '--memory'" },
		{ { "kill", "-s", "NOPE", "web" }, "Error: unknown signal 'NOPE'\n" },
		{ { "stop" }, "Error: no containers specified and --all not supplied\n" },
		{ { "rm", "-a", "web" },
		  "Error: explicitly supplied container ID(s) conflict with the --all flag\n" },
		{ { "start", "-a", "web", "db" },
		  "Error: only one container can be attached to\n" },
		{ { "cp", "a", "b" }, "Error: nothing to copy between\n" },
		{ { "completion", "csh" }, "Error: unknown shell 'csh'" },
		{ { "system", "kernel", "set" },
		  "Error: name either a kernel or '--recommended'\n" },
		{ { "image", "import", "x.tar" }, "Error: import needs an archive" },
		{ { "image", "import", "--from-snapshot", "warm" },
		  "Error: '--from-snapshot' takes the name of the image and nothing else" },
		{ { "image", "import", "--builtin", "--from-snapshot", "warm" },
		  "Error: '--builtin' conflicts with '--from-snapshot'" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *words[8] = { "hull" };

		memcpy(words + 1, cases[i].words, sizeof(cases[i].words));
		assert_int_equal(run_words(words), 64);
		if (!str_starts(errors, cases[i].message))
			fail_msg("'%s' instead of '%s'", errors, cases[i].message);
		assert_non_null(strstr(errors, "\nUsage: hull"));
		assert_string_equal(out, "");
	}
	assert_null(fake.calls.text); /* none of this needs an engine */
}

static void test_help_needs_no_engine(void **state)
{
	assert_int_equal(RUN("--help"), 0);
	assert_non_null(strstr(out, "list, ls"));
	assert_int_equal(RUN("run", "--help"), 0);
	assert_non_null(strstr(out, "-m, --memory SIZE"));
	assert_int_equal(RUN("image"), 0);
	assert_true(str_starts(out, "Usage: hull image [OPTIONS] COMMAND\n"));
	assert_int_equal(RUN("help", "system", "kernel", "set"), 0);
	assert_non_null(strstr(out, "--modules DIR"));
	assert_int_equal(RUN("--version"), 0);
	assert_int_equal(RUN("system", "version"), 0);
	assert_null(fake.calls.text);
}

static void test_every_target_is_tried(void **state)
{
	assert_int_equal(RUN("stop", "-t", "1", "gone", "web", "-s", "INT"), 1);
	assert_string_equal(out, "web\n");
	assert_string_equal(errors, "Error: container not found: gone\n");
	assert_non_null(strstr(fake.calls.text, "stop gone INT 1\nstop web INT 1\n"));
	assert_int_equal(RUN("kill", "db", "web"), 1);
	assert_string_equal(errors, "Error: container db is not running\n");
	assert_int_equal(RUN("wait", "web", "db"), 0);
	assert_string_equal(out, "7\n7\n");
	assert_int_equal(RUN("rmi", "-f", "none", "alpine"), 1);
	assert_string_equal(out, "alpine\n");
}

static void test_all_means_those_that_fit(void **state)
{
	assert_int_equal(RUN("stop", "--all"), 0);
	assert_string_equal(out, "web\n");
	assert_int_equal(RUN("rm", "-af"), 0);
	assert_string_equal(out, "web\ndb\n");
}

static void test_lists(void **state)
{
	assert_int_equal(RUN("ls"), 0);
	assert_true(str_starts(out,
			       "ID   IMAGE                            OS     ARCH   STATE    IP"
			       "        CPUS  MEMORY    STARTED               PORTS\n"
			       "web  docker.io/library/alpine:latest  linux  amd64  running"));
	assert_null(strstr(out, "db"));
	assert_int_equal(RUN("ls", "-aq"), 0);
	assert_string_equal(out, "web\ndb\n");
	assert_int_equal(RUN("ps", "-q", "--filter", "status=stopped"), 0);
	assert_string_equal(out, "db\n");
	assert_int_equal(RUN("ls", "-a", "-q", "--filter", "label=tier=web"), 0);
	assert_string_equal(out, "web\n");
	assert_int_equal(RUN("ls", "-q", "--filter", "ancestor=alpine"), 0);
	assert_string_equal(out, "web\n");
	assert_int_equal(RUN("ls", "--filter", "name=nothing"), 0);
	assert_string_equal(out, "ID  IMAGE  OS  ARCH  STATE  IP  CPUS  MEMORY  STARTED  PORTS\n");
	assert_int_equal(RUN("image", "ls"), 0);
	assert_string_equal(out, "NAME    TAG     DIGEST\n"
				 "alpine  latest  000000000000000000000000\n");
	assert_int_equal(RUN("images", "-q"), 0);
	assert_string_equal(out, "alpine:latest\n");
}

static void test_documents(void **state)
{
	AUTO_JSON json_t *list = NULL;
	const json_t *item;

	assert_int_equal(RUN("ls", "-a", "--format", "json"), 0);
	assert_int_equal(strcspn(out, "\n"), strlen(out) - 1); /* one line */
	assert_int_equal(json_parse(out, strlen(out), "list", &list, NULL), 0);
	item = json_array_get(list, 1);
	assert_string_equal(json_get_string(item, "id"), "db");
	assert_string_equal(json_get_string(json_get_object(item, "status"), "state"), "stopped");
	assert_int_equal(json_get_int(json_get_object(item, "status"), "exitCode", -1), 3);
	assert_non_null(json_get_array(json_get_object(item, "status"), "networks"));
	assert_string_equal(json_get_string(json_get_object(item, "configuration"), "creationDate"),
			    "2026-01-02T03:04:05Z");
	assert_null(strstr(out, "\"hull\""));
	assert_int_equal(RUN("inspect", "web"), 0);
	assert_true(str_starts(out, "[\n  {\n    \"configuration\": {\n"));
	assert_int_equal(RUN("inspect", "web", "gone"), 1);
	assert_string_equal(errors, "Error: container not found: gone\n");
	assert_int_equal(RUN("inspect", "--format", "yaml", "web"), 0);
	assert_non_null(strstr(out, "  id: web\n"));
	assert_non_null(strstr(out, "startedDate: \"2026-01-02T03:04:05Z\"\n"));
	assert_non_null(strstr(out, "10.9.0.4/24"));
	assert_int_equal(RUN("system", "logs", "-n", "3", "web"), 0);
	assert_string_equal(out, "web machine: it creaks\n");
	assert_int_equal(RUN("system", "logs", "-f"), 0);
	assert_non_null(strstr(fake.calls.text, "system-logs web 3\n"));
	assert_non_null(strstr(fake.calls.text, "system-logs all -1 follow\n"));
	assert_int_equal(RUN("system", "logs", "gone"), 1);
	assert_int_equal(RUN("system", "df", "--format", "json"), 0);
	assert_non_null(strstr(out, "\"sizeInBytes\": 5242880"));
	assert_int_equal(RUN("stats", "--format=json"), 0);
	assert_non_null(strstr(out, "\"memoryUsageBytes\":12582912"));
}

static void test_logs(void **state)
{
	assert_int_equal(RUN("logs", "-n", "5", "web"), 0);
	assert_string_equal(out, "one\ntwo\n");
	assert_string_equal(errors, "oops\n");
	assert_non_null(strstr(fake.calls.text, "logs web lines=5 boot=0 follow=0\n"));
	assert_int_equal(RUN("logs", "--timestamps", "web"), 0);
	assert_string_equal(out, "2026-01-02T03:04:05.000000001Z one\n"
				 "2026-01-02T03:04:05.000000001Z two\n");
	assert_string_equal(errors, "2026-01-02T03:04:05.000000002Z oops\n");
}

static void test_events(void **state)
{
	assert_int_equal(RUN("events"), 0);
	assert_string_equal(
		out, "2001-09-09T01:46:40Z container die web (image=alpine:1, exitCode=3)\n");
	assert_int_equal(RUN("events", "--format", "json"), 0);
	assert_string_equal(out, "{\"action\":\"die\",\"exitCode\":3,\"id\":\"web\","
				 "\"image\":\"alpine:1\",\"time\":\"2001-09-09T01:46:40Z\"}\n");
}

static void test_top(void **state)
{
	assert_int_equal(RUN("top", "web"), 0);
	assert_string_equal(out, "PID  PPID  UID  AGE         CPU       COMMAND\n"
				 "1    0     33   1-01:01:01  00:01:01  nginx -g off\n");
	assert_int_equal(RUN("top", "--format", "json", "web"), 0);
	assert_string_equal(out,
			    "[{\"ageSeconds\":90061,\"command\":\"nginx -g off\","
			    "\"cpuMilliseconds\":61000,\"parentPid\":0,\"pid\":1,\"uid\":33}]\n");
}

static void test_update(void **state)
{
	assert_int_equal(RUN("update", "-c", "0.001", "web"), 64);
	assert_non_null(strstr(errors, "invalid number '0.001' for '--cpus'"));
	assert_int_equal(RUN("update", "-c", "0.0", "web"), 64);
	assert_non_null(strstr(errors, "'--cpus' is at least 0.01"));
	assert_int_equal(RUN("update", "-c", ".", "web"), 64);
	assert_int_equal(RUN("update", "-c", "1", "-m", "1g", "--restart", "always", "web"), 0);
	assert_non_null(strstr(fake.calls.text, "update web 100 1073741824 0 always\n"));
	assert_string_equal(out, "web\n");
	assert_int_equal(RUN("update", "web"), 64);
	assert_int_equal(RUN("update", "--restart", "perhaps", "web"), 64);
}

static void test_files(void **state)
{
	assert_int_equal(RUN("cp", "-aL", "web:/x", "here"), 0);
	assert_non_null(strstr(fake.calls.text, "copy web:/x here archive follow\n"));
	assert_string_equal(out, "");
	assert_int_equal(RUN("export", "-o", "f", "web"), 0);
	assert_non_null(strstr(fake.calls.text, "export web f\n"));
	assert_int_equal(RUN("export", "gone"), 1);
	assert_int_equal(RUN("diff", "web"), 0);
	assert_string_equal(out, "C /etc\nA /etc/a?b\xff\n"); /* it cannot drive a terminal */
	assert_int_equal(RUN("diff", "--format", "json", "web"), 0);
	assert_string_equal(out, "[{\"kind\":\"C\",\"path\":\"/etc\"},"
				 "{\"kind\":\"A\",\"path\":\"/etc/a\\nb?\"}]\n");
	assert_int_equal(RUN("commit", "-m", "why", "-c", "CMD x", "--pause=false", "web", "img"),
			 0);
	assert_non_null(
		strstr(fake.calls.text, "commit web img author=- message=why pause=0 [CMD x]\n"));
	assert_string_equal(out, "img\n");
	assert_int_equal(RUN("commit", "web"), 64);
}

static void test_images(void **state)
{
	assert_int_equal(RUN("pull", "--arch", "arm64", "alpine"), 0);
	assert_non_null(strstr(fake.calls.text, "pull alpine linux/arm64 auto 3\n"));
	assert_string_equal(out, "alpine\n");
	assert_int_equal(RUN("image", "push", "--scheme=https", "alpine"), 0);
	assert_non_null(strstr(fake.calls.text, "push alpine - https\n"));
	assert_string_equal(out, "alpine\n");
	assert_int_equal(RUN("registry", "ls"), 0);
	assert_string_equal(out, "HOSTNAME   USERNAME  MODIFIED  CREATED\n"
				 "r.example  me                  2001-09-09T01:46:40Z\n");
	assert_int_equal(RUN("image", "load", "-i", "x.tar"), 0);
	assert_string_equal(out, "a\nb\n");
	assert_int_equal(RUN("image", "save", "alpine"), 0);
	assert_string_equal(out, ""); /* the archive's place */
	assert_string_equal(errors, "alpine\n");
	assert_int_equal(RUN("i", "import", "--builtin"), 0);
	assert_string_equal(out, "busybox:latest\n");
	assert_int_equal(RUN("i", "import", "--from-snapshot", "web", "hot"), 0);
	assert_string_equal(out, "hot\n");
	assert_int_equal(RUN("snapshot", "create", "--volumes", "web"), 0);
	assert_string_equal(out, "web-1\n");
	assert_non_null(strstr(fake.calls.text, "image import snapshot web hot\n"));
	assert_non_null(strstr(fake.calls.text, "snapshot create web - volumes\n"));
	assert_int_equal(RUN("image", "prune", "-af"), 0);
	assert_string_equal(errors, "Reclaimed 3.00 MiB in disk space\n");
	assert_int_equal(RUN("prune", "-f"), 0);
	assert_string_equal(out, "db\n");
	assert_string_equal(errors, "Reclaimed Zero KB in disk space\n");
	assert_int_equal(RUN("image", "inspect", "none"), 1);
	assert_string_equal(errors, "Error: image not found: none\n");
}

static void test_volume_commands(void **state)
{
	assert_int_equal(RUN("volume", "create", "-s", "1g", "--opt", "journal=writeback", "-l",
			     "a=b", "-l", "c", "new"),
			 0);
	assert_string_equal(fake.calls.text,
			    "open -\nvolume-create new 1073741824 journal=writeback 2\n");
	assert_string_equal(out, "new\n");
	fake_reset();
	assert_int_equal(RUN("v", "create"), 0);
	assert_string_equal(out, "anon-1\n");
	assert_int_equal(RUN("volume", "ls"), 0);
	assert_string_equal(out, "NAME  TYPE   DRIVER  OPTIONS\n"
				 "data  named  local   size=512g\n");
	assert_int_equal(RUN("volume", "list", "-q"), 0);
	assert_string_equal(out, "data\n");
	assert_int_equal(RUN("volume", "list", "--format", "json"), 0);
	assert_string_equal(
		out, "[{\"configuration\":{\"creationDate\":\"2026-01-02T03:04:05Z\","
		     "\"driver\":\"local\",\"format\":\"ext4\",\"labels\":{\"a\":\"b\"},"
		     "\"name\":\"data\",\"options\":{\"size\":\"512g\"},"
		     "\"sizeInBytes\":549755813888,\"source\":\"/root/volumes/data/disk.img\"},"
		     "\"id\":\"data\"}]\n");
	assert_int_equal(RUN("volume", "inspect", "data", "nosuch"), 1);
	assert_string_equal(errors, "Error: volume not found: nosuch\n");
	assert_int_equal(RUN("volume", "rm"), 64);
	assert_int_equal(RUN("volume", "rm", "-a", "data"), 64);
	fake_reset();
	assert_int_equal(RUN("volume", "rm", "nosuch", "data"), 1);
	assert_string_equal(out, "data\n");
	assert_int_equal(RUN("volume", "prune", "--anonymous"), 0);
	assert_non_null(strstr(fake.calls.text, "volume-prune anonymous\n"));
	assert_string_equal(errors, "Reclaimed Zero KB in disk space\n");
	assert_int_equal(RUN("__complete", "volume", "rm", ""), 0);
	assert_string_equal(out, "data\text4\n");
	assert_int_equal(RUN("__complete", "run", "-v", "da"), 0);
	assert_string_equal(out, "data\text4\n");
}

static void test_system(void **state)
{
	assert_int_equal(RUN("system", "doctor"), 1);
	assert_string_equal(out, "[ok]   kernel: 6.1\n"
				 "[FAIL] qemu: not found\n"
				 "       -> install qemu-system-x86\n");
	assert_int_equal(RUN("--root", "/x", "system", "kernel", "set", "vmlinux"), 0);
	assert_non_null(strstr(fake.calls.text, "open /x\nkernel-set vmlinux -\n"));
	assert_int_equal(RUN("system", "property", "list"), 0);
	assert_true(str_starts(out, "PROPERTY            VALUE\ncontainer.cpus      4\n"));
}

static void test_progress_without_a_terminal_is_plain(void **state)
{
	fake.progress = true;
	assert_int_equal(RUN("run", "-d", "alpine"), 0);
	assert_string_equal(errors, "0123456789ab: pulling, 5 B / 10 B\n"
				    "making?[2J a template ...\n"
				    "0123456789ab: pulling done, 10 B\n");
	assert_int_equal(RUN("run", "-d", "--progress", "none", "alpine"), 0);
	assert_string_equal(errors, "");
	assert_int_equal(RUN("run", "-d", "--progress=ansi", "alpine"), 0);
	assert_non_null(strstr(errors, "\033[K"));
	assert_true(str_ends(errors, "\033[J"));
}

static void test_completion(void **state)
{
	assert_int_equal(RUN("__complete", "--", "sto"), 0);
	assert_string_equal(out, "stop\tstop running containers\n");
	assert_int_equal(RUN("__complete", "--", "image", "p"), 0);
	assert_non_null(strstr(out, "pull\t"));
	assert_int_equal(RUN("__complete", "--", "run", "--mem"), 0);
	assert_string_equal(out, "--memory\tmemory (default 1g)\n");
	assert_int_equal(RUN("__complete", "--", "run", "-m", "1g", "al"), 0);
	assert_string_equal(out, "alpine:latest\t\n");
	assert_int_equal(RUN("__complete", "--", "run", "--pull", "a"), 0);
	assert_string_equal(out, "always\t\n");
	assert_int_equal(RUN("__complete", "--", "run", "--pull=n"), 0);
	assert_string_equal(out, "--pull=never\t\n");
	assert_int_equal(RUN("__complete", "--", "run", "alpine", "/b"), 0);
	assert_string_equal(out, ":files\n");
	assert_int_equal(RUN("__complete", "--", "stop", ""), 0);
	assert_string_equal(out, "web\tdocker.io/library/alpine:latest\n");
	assert_int_equal(RUN("__complete", "--", "rm", "d"), 0);
	assert_string_equal(out, "db\tdocker.io/library/alpine:latest\n");
	assert_int_equal(RUN("__complete", "--", "nothing", "x"), 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_of_every_type),
		cmocka_unit_test(test_options_have_initial_values_and_aliases),
		cmocka_unit_test(test_options_end_at_the_first_other_word),
		cmocka_unit_test(test_options_that_are_wrong),
		cmocka_unit_test(test_every_command_has_help_that_fits),
		cmocka_unit_test(test_no_option_is_there_twice),
		cmocka_unit_test(test_the_manual_has_every_option_and_no_other),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ulimits),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_points_in_time),
		TEST_IN_DIR(test_environment_files),
		cmocka_unit_test_setup(test_run_tells_the_engine_all, reset),
		cmocka_unit_test_setup(test_what_a_warm_start_refuses, reset),
		cmocka_unit_test_setup(test_status_is_the_processes_own, reset),
		cmocka_unit_test_setup(test_run_that_fails_leaves_nothing, reset),
		cmocka_unit_test_setup(test_run_detached_prints_the_id, reset),
		cmocka_unit_test_setup(test_wrong_usage, reset),
		cmocka_unit_test_setup(test_help_needs_no_engine, reset),
		cmocka_unit_test_setup(test_every_target_is_tried, reset),
		cmocka_unit_test_setup(test_all_means_those_that_fit, reset),
		cmocka_unit_test_setup(test_lists, reset),
		cmocka_unit_test_setup(test_documents, reset),
		cmocka_unit_test_setup(test_logs, reset),
		cmocka_unit_test_setup(test_events, reset),
		cmocka_unit_test_setup(test_top, reset),
		cmocka_unit_test_setup(test_update, reset),
		cmocka_unit_test_setup(test_files, reset),
		cmocka_unit_test_setup(test_images, reset),
		cmocka_unit_test_setup(test_volume_commands, reset),
		cmocka_unit_test_setup(test_system, reset),
		cmocka_unit_test_setup(test_progress_without_a_terminal_is_plain, reset),
		cmocka_unit_test_setup(test_completion, reset),
	};
	int failed = cmocka_run_group_tests_name("cli", tests, NULL, NULL);

	fake_reset();
	free(out);
	free(errors);
	return failed;
}
