/* SPDX-License-Identifier: Apache-2.0 */
/* What several verbs take from the request, or put into the store. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/str.h"
#include "image/verbs.h"
#include "store/images.h"

#define CONCURRENCY_DEFAULT 3
#define CONCURRENCY_MAX 16

int task_platform(const struct task *task, struct platform *ret_platform, struct err *err)
{
	const char *text = json_get_string(task->request, "platform");

	if (text)
		return platform_parse(text, ret_platform, err);
	*ret_platform = platform_host();
	return 0;
}

size_t task_concurrency(const struct task *task)
{
	int64_t n = json_get_int(task->request, "concurrency", CONCURRENCY_DEFAULT);

	return n < 1 ? 1 : n > CONCURRENCY_MAX ? CONCURRENCY_MAX : (size_t)n;
}

int task_string(const struct task *task, const char *name, const char **ret_text, struct err *err)
{
	*ret_text = json_get_string(task->request, name);
	return *ret_text ? 0 : err_set(err, -EINVAL, "the request has no %s", name);
}

int task_input(const struct task *task, const char **ret_name, struct err *err)
{
	const char *path = json_get_string(task->request, "path");
	int fd;

	if (!path || str_eq(path, "-")) {
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
		*ret_name = "the standard input";
	} else {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		*ret_name = path;
	}
	if (fd < 0 && errno == ENOENT)
		return err_set(err, -ENOENT, "path '%s' does not exist", path);
	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %m", *ret_name);
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return fd;
}

int task_set_reference(struct task *task, const char *reference, const struct descriptor *document,
		       struct err *err)
{
	struct image_row row = { .reference = (char *)reference,
				 .digest = document->digest,
				 .media_type = document->media_type,
				 .size = document->size,
				 .created_at = time(NULL) };

	return images_set(task->store, &row, err);
}
