/* SPDX-License-Identifier: Apache-2.0 */
/* usage: watch_files PATH...: prints what inotify tells of each, one event a line: "create PATH
 * NAME". Static, to be mounted into guests. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCHED                                                                           \
	(IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | \
	 IN_MOVED_TO | IN_DELETE_SELF)

static const struct {
	uint32_t mask;
	const char *name;
} names[] = {
	{ IN_CREATE, "create" }, { IN_MODIFY, "modify" },    { IN_CLOSE_WRITE, "close" },
	{ IN_ATTRIB, "attrib" }, { IN_DELETE, "delete" },    { IN_MOVED_FROM, "from" },
	{ IN_MOVED_TO, "to" },   { IN_DELETE_SELF, "gone" }, { IN_Q_OVERFLOW, "overflow" },
};

int main(int argc, char **argv)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	int fd = inotify_init();
	ssize_t n;

	for (int i = 1; i < argc; i++)
		if (inotify_add_watch(fd, argv[i], WATCHED) != i) {
			perror(argv[i]);
			return 1;
		}
	puts("ready");
	fflush(stdout);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (void *)at;

			at += sizeof(*event) + event->len;
			for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
				if (event->mask & names[i].mask)
					printf("%s %s %s\n", names[i].name,
					       event->wd > 0 ? argv[event->wd] : "",
					       event->len ? event->name : "");
		}
		fflush(stdout);
	}
	return 1;
}
