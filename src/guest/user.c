/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "guest/sys.h"

#define ACCOUNTS_MAX ((size_t)4 * 1024 * 1024)

#define ID_MAX 2147483647u /* as Docker: larger ones are refused */

/* A field of a line of passwd or group; borrowed from the file's text. */
struct field {
	const char *text;
	size_t length;
};

/* Splits the next line at ':' into at most max fields; returns how many, 0 at the end. */
static size_t next_line(const char **text, struct field *fields, size_t max)
{
	const char *line = *text;
	size_t length = strcspn(line, "\n");
	const char *end = line + length;
	size_t n = 0;

	if (!*line)
		return 0;
	*text = *end ? end + 1 : end;
	while (n < max) {
		const char *colon = memchr(line, ':', (size_t)(end - line));
		const char *stop = colon && n + 1 < max ? colon : end;

		fields[n++] = (struct field){ line, (size_t)(stop - line) };
		if (stop == end)
			break;
		line = stop + 1;
	}
	return n;
}

static bool field_is(const struct field *field, const char *text)
{
	return strlen(text) == field->length && memcmp(field->text, text, field->length) == 0;
}

static bool field_id(const struct field *field, uint32_t *ret_id)
{
	char digits[16];

	if (field->length >= sizeof(digits))
		return false;
	memcpy(digits, field->text, field->length);
	digits[field->length] = '\0';
	return str_parse_u32(digits, ret_id) == 0;
}

enum { PASSWD_NAME, PASSWD_UID = 2, PASSWD_GID, PASSWD_GECOS, PASSWD_HOME, PASSWD_FIELDS = 7 };

/* Finds the user by name, else by number, and fills in all but the supplementary groups. Returns
 * whether there is an entry; *ret_name is its name. */
static bool find_user(const char *passwd, const char *wanted, struct user *user,
		      struct field *ret_name)
{
	struct field fields[PASSWD_FIELDS];
	uint32_t wanted_id = 0;
	bool numeric = str_parse_u32(wanted, &wanted_id) == 0;
	size_t n;

	while ((n = next_line(&passwd, fields, PASSWD_FIELDS)) > 0) {
		uint32_t uid;
		uint32_t gid;

		if (n <= PASSWD_GID || !field_id(&fields[PASSWD_UID], &uid) ||
		    !field_id(&fields[PASSWD_GID], &gid))
			continue;
		if (!field_is(&fields[PASSWD_NAME], wanted) && !(numeric && uid == wanted_id))
			continue;
		user->uid = uid;
		user->gid = gid;
		if (n > PASSWD_HOME && fields[PASSWD_HOME].length &&
		    fields[PASSWD_HOME].length < sizeof(user->home))
			snprintf(user->home, sizeof(user->home), "%.*s",
				 (int)fields[PASSWD_HOME].length, fields[PASSWD_HOME].text);
		*ret_name = fields[PASSWD_NAME];
		return true;
	}
	return false;
}

enum { GROUP_NAME, GROUP_GID = 2, GROUP_MEMBERS, GROUP_FIELDS };

static bool find_group(const char *group, const char *wanted, gid_t *ret_gid)
{
	struct field fields[GROUP_FIELDS];
	uint32_t gid;
	size_t n;

	while ((n = next_line(&group, fields, GROUP_FIELDS)) > 0)
		if (n > GROUP_GID && field_is(&fields[GROUP_NAME], wanted) &&
		    field_id(&fields[GROUP_GID], &gid)) {
			*ret_gid = gid;
			return true;
		}
	return false;
}

static void add_group(struct user *user, gid_t gid)
{
	for (size_t i = 0; i < user->group_count; i++)
		if (user->groups[i] == gid)
			return;
	if (user->group_count < USER_GROUPS_MAX)
		user->groups[user->group_count++] = gid;
}

static bool is_member(const struct field *members, const struct field *name)
{
	const char *at = members->text;
	const char *end = at + members->length;

	while (at < end) {
		const char *comma = memchr(at, ',', (size_t)(end - at));
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - at) == name->length &&
		    memcmp(at, name->text, name->length) == 0)
			return true;
		at = stop + 1;
	}
	return false;
}

static void add_memberships(const char *group, const struct field *name, struct user *user)
{
	struct field fields[GROUP_FIELDS];
	uint32_t gid;
	size_t n;

	while ((n = next_line(&group, fields, GROUP_FIELDS)) > 0)
		if (n > GROUP_MEMBERS && field_id(&fields[GROUP_GID], &gid) &&
		    is_member(&fields[GROUP_MEMBERS], name))
			add_group(user, gid);
}

/* A group by name, else by number. */
static int resolve_group(const char *group, const char *wanted, gid_t *ret_gid, struct err *err)
{
	uint32_t gid;

	if (find_group(group, wanted, ret_gid))
		return 0;
	if (str_parse_u32(wanted, &gid) < 0 || gid > ID_MAX)
		return err_set(err, -EINVAL, "group '%s' not found: no such entry in /etc/group",
			       wanted);
	*ret_gid = gid;
	return 0;
}

int user_lookup(const char *passwd, const char *group, const char *spec, char *const *groups,
		struct user *ret_user, struct err *err)
{
	AUTO_STRV char **parts = str_split(spec, ':', 2);
	const char *wanted = *parts[0] ? parts[0] : "0";
	struct user user = { .home = "/" };
	struct field name = { 0 };
	int r;

	if (find_user(passwd, wanted, &user, &name)) {
		/* A group that is asked for takes the place of all of the user's. */
		if (!parts[1] || !*parts[1])
			add_memberships(group, &name, &user);
	} else if (str_parse_u32(wanted, &user.uid) < 0 || user.uid > ID_MAX) {
		return err_set(err, -EINVAL, "user '%s' not found: no such entry in /etc/passwd",
			       wanted);
	}
	if (parts[1] && *parts[1]) {
		r = resolve_group(group, parts[1], &user.gid, err);
		if (r < 0)
			return r;
	}
	STRV_EACH (groups, it) {
		gid_t gid = 0;

		r = resolve_group(group, *it, &gid, err);
		if (r < 0)
			return r;
		add_group(&user, gid);
	}
	*ret_user = user;
	return 0;
}

static void read_accounts(int root_fd, const char *path, char **ret_text)
{
	AUTO_CLOSE int fd = sys_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    fd_read_text(fd, ACCOUNTS_MAX, ret_text, NULL) < 0)
		*ret_text = xstrdup("");
}

void user_find_in(int root_fd, const char *spec, struct user *ret_user)
{
	AUTO_FREE char *passwd = NULL;
	AUTO_FREE char *group = NULL;

	if (!*spec)
		return;
	read_accounts(root_fd, "/etc/passwd", &passwd);
	read_accounts(root_fd, "/etc/group", &group);
	user_lookup(passwd, group, spec, NULL, ret_user, NULL);
}
