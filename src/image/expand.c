/* SPDX-License-Identifier: Apache-2.0 */
/* An archive from standard input, as it was before it was compressed. */
#include <unistd.h>

#include "base/fd.h"
#include "image/verbs.h"

int verb_expand(struct task *task, json_t **ret_result, struct err *err)
{
	AUTO_STREAM struct stream *plain =
		stream_decompress_new(stream_fd_new(STDIN_FILENO, "standard input"));
	const void *data;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = stream_read(plain, &data, err)) != 0) {
		if (n < 0)
			return (int)n;
		r = fd_write_all(STDOUT_FILENO, data, (size_t)n);
		if (r < 0)
			return err_set(err, r, "cannot pass on the archive: %m");
	}
	*ret_result = json_object();
	return 0;
}
