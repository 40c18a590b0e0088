/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/parse.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/proc.h"
#include "base/str.h"

#define NS_PER_S 1000000000

int parse_container_name(const char *text, struct err *err)
{
	size_t length = strlen(text);
	bool ok = length >= 2 && isalnum((unsigned char)text[0]);

	for (size_t i = 1; ok && i < length; i++)
		ok = isalnum((unsigned char)text[i]) || strchr("_.-", text[i]);
	if (!ok)
		return err_set(
			err, -EINVAL,
			"invalid name '%s': it is made of letters, digits and '_.-', at least "
			"two, the first a letter or digit",
			text);
	if (length > CONTAINER_NAME_MAX)
		return err_set(err, -EINVAL, "name '%s' is longer than %d characters", text,
			       CONTAINER_NAME_MAX);
	return 0;
}

static const char *const rlimit_names[] = { "as",     "core",   "cpu",        "data",
					    "fsize",  "locks",  "memlock",    "msgqueue",
					    "nice",   "nofile", "nproc",      "rss",
					    "rtprio", "rttime", "sigpending", "stack" };

static int parse_limit_value(const char *text, uint64_t *ret_value)
{
	if (str_eq(text, "unlimited") || str_eq(text, "-1")) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	return str_parse_u64(text, ret_value);
}

/* "RLIMIT_NOFILE" of "nofile"; NULL when there is none. */
static char *rlimit_name(const char *text)
{
	const char *bare = strncasecmp(text, "RLIMIT_", 7) == 0 ? text + 7 : text;

	for (size_t i = 0; i < ARRAY_SIZE(rlimit_names); i++) {
		if (strcasecmp(rlimit_names[i], bare) == 0) {
			char *name = xasprintf("RLIMIT_%s", rlimit_names[i]);

			for (char *c = name; *c; c++)
				*c = (char)toupper((unsigned char)*c);
			return name;
		}
	}
	return NULL;
}

int parse_ulimit(const char *text, struct rlimit_config *ret_limit, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '=', 2);
	AUTO_STRV char **values = sides[1] ? str_split(sides[1], ':', 2) : NULL;
	AUTO_FREE char *name = rlimit_name(sides[0]);
	uint64_t soft = 0;
	uint64_t hard = 0;

	if (!name)
		return err_set(err, -EINVAL, "unknown limit '%s' in '%s'", sides[0], text);
	if (!values || parse_limit_value(values[0], &soft) < 0 ||
	    parse_limit_value(values[1] ? values[1] : values[0], &hard) < 0)
		return err_set(err, -EINVAL, "invalid limit '%s': it is like %s=1024:2048", text,
			       sides[0]);
	if (soft > hard)
		return err_set(err, -EINVAL, "limit '%s': the soft one is above the hard one",
			       text);
	*ret_limit = (struct rlimit_config){ TAKE_PTR(name), soft, hard };
	return 0;
}

/* capabilities(7). */
static const char *const capability_names[] = {
	"AUDIT_CONTROL",   "AUDIT_READ",   "AUDIT_WRITE",
	"BLOCK_SUSPEND",   "BPF",          "CHECKPOINT_RESTORE",
	"CHOWN",           "DAC_OVERRIDE", "DAC_READ_SEARCH",
	"FOWNER",          "FSETID",       "IPC_LOCK",
	"IPC_OWNER",       "KILL",         "LEASE",
	"LINUX_IMMUTABLE", "MAC_ADMIN",    "MAC_OVERRIDE",
	"MKNOD",           "NET_ADMIN",    "NET_BIND_SERVICE",
	"NET_BROADCAST",   "NET_RAW",      "PERFMON",
	"SETFCAP",         "SETGID",       "SETPCAP",
	"SETUID",          "SYSLOG",       "SYS_ADMIN",
	"SYS_BOOT",        "SYS_CHROOT",   "SYS_MODULE",
	"SYS_NICE",        "SYS_PACCT",    "SYS_PTRACE",
	"SYS_RAWIO",       "SYS_RESOURCE", "SYS_TIME",
	"SYS_TTY_CONFIG",  "WAKE_ALARM",
};

int parse_capability(const char *text, char ***names, struct err *err)
{
	const char *bare = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;

	if (strcasecmp(text, "ALL") == 0) {
		strv_push(names, "ALL");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(capability_names); i++) {
		if (strcasecmp(capability_names[i], bare) == 0) {
			AUTO_FREE char *name = xasprintf("CAP_%s", capability_names[i]);

			strv_push(names, name);
			return 0;
		}
	}
	return err_set(err, -EINVAL, "unknown capability '%s'", text);
}

int parse_restart(const char *text, struct err *err)
{
	const char *count = str_after(text, "on-failure:");
	uint32_t n = 0;

	if (str_eq(text, "no") || str_eq(text, "always") || str_eq(text, "unless-stopped") ||
	    str_eq(text, "on-failure") || (count && str_parse_u32(count, &n) == 0))
		return 0;
	return err_set(err, -EINVAL,
		       "invalid restart policy '%s': it is one of no, on-failure[:N], always, "
		       "unless-stopped",
		       text);
}

int parse_signal(const char *text, struct err *err)
{
	if (proc_signal_parse(text) < 0)
		return err_set(err, -EINVAL, "unknown signal '%s'", text);
	return 0;
}

int parse_label(const char *text, json_t *labels, struct err *err)
{
	AUTO_STRV char **sides = str_split(text, '=', 2);

	if (!*sides[0])
		return err_set(err, -EINVAL, "invalid label '%s': it is like key=value", text);
	json_set_string(labels, sides[0], str_or(sides[1], ""));
	if (!json_object_get(labels, sides[0]))
		return err_set(err, -EINVAL, "label '%s' is not UTF-8", text);
	return 0;
}

int parse_storage_option(const char *text, uint64_t *ret_bytes, struct err *err)
{
	const char *size = str_after(text, "size=");

	if (!size || str_parse_size(size, ret_bytes) < 0 || !*ret_bytes)
		return err_set(err, -EINVAL, "invalid storage option '%s': it is size=SIZE", text);
	return 0;
}

/* 2026-01-02T03:04:05[.fraction](Z|±hh:mm); the fraction is not needed to a record's exactness. */
static bool parse_rfc3339(const char *text, int64_t *ret_seconds)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	int64_t seconds;

	if (!rest)
		return false;
	seconds = timegm(&tm);
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!str_eq(rest, "Z")) {
		struct tm zone = { 0 };
		const char *end =
			*rest == '+' || *rest == '-' ? strptime(rest + 1, "%H:%M", &zone) : NULL;

		if (!end || *end)
			return false;
		seconds -= (*rest == '-' ? -1 : 1) *
			   (zone.tm_hour * INT64_C(3600) + zone.tm_min * INT64_C(60));
	}
	*ret_seconds = seconds;
	return true;
}

int parse_since(const char *text, int64_t now_ns, int64_t *ret_ns, struct err *err)
{
	size_t length = strlen(text);
	int64_t seconds = 0;
	uint64_t ms = 0;

	if (length >= 9 && str_parse_i64(text, &seconds) == 0 && seconds >= 0 &&
	    seconds < INT64_MAX / NS_PER_S)
		*ret_ns = seconds * NS_PER_S;
	else if (length < 16 && str_parse_duration_ms(text, &ms) == 0 && ms < INT64_MAX / 1000000)
		*ret_ns = now_ns - (int64_t)ms * 1000000;
	else if (parse_rfc3339(text, &seconds))
		*ret_ns = seconds * NS_PER_S;
	else
		return err_set(err, -EINVAL,
			       "invalid time '%s': it is like 10m (ago), 2026-01-02T03:04:05Z or "
			       "Unix seconds",
			       text);
	return 0;
}

static const char *env_get(char *const *environment, const char *name, size_t length)
{
	STRV_EACH (environment, it)
		if (strncmp(*it, name, length) == 0 && (*it)[length] == '=')
			return *it;
	return NULL;
}

int env_set(char ***environment, const char *text, char *const *own, struct err *err)
{
	size_t length = strcspn(text, "=");
	const char *assignment = text[length] ? text : env_get(own, text, length);

	if (!length)
		return err_set(err, -EINVAL, "invalid environment variable '%s': it has no name",
			       text);
	if (!assignment)
		return 0;
	for (char **it = *environment; it && *it; it++) {
		if (strncmp(*it, text, length) == 0 && (*it)[length] == '=') {
			free(*it);
			*it = xstrdup(assignment);
			return 0;
		}
	}
	strv_push(environment, assignment);
	return 0;
}

static int env_line(char ***environment, char *line, char *const *own, struct err *err)
{
	line += strspn(line, " \t");
	line[strcspn(line, "\r\n")] = '\0';
	if (!*line || *line == '#')
		return 0;
	if (strcspn(line, " \t") < strcspn(line, "="))
		return err_set(err, -EINVAL, "the name in '%s' has a space", line);
	return env_set(environment, line, own, err);
}

int env_file(char ***environment, const char *path, char *const *own, struct err *err)
{
	AUTO_FCLOSE FILE *file = fopen(path, "re");
	AUTO_FREE char *line = NULL;
	size_t capacity = 0;
	ssize_t length;

	if (!file)
		return err_set(err, -errno, "cannot open environment file '%s': %m", path);
	for (int number = 1; (length = getline(&line, &capacity, file)) >= 0; number++) {
		char *start = number == 1 && str_starts(line, "\xef\xbb\xbf") ? line + 3 : line;
		int r = strlen(line) == (size_t)length ? env_line(environment, start, own, err)
						       : err_set(err, -EINVAL, "it holds a NUL");

		if (r < 0) {
			err_context(err, "environment file '%s', line %d", path, number);
			return r;
		}
	}
	if (ferror(file))
		return err_set(err, -EIO, "cannot read environment file '%s'", path);
	return 0;
}
