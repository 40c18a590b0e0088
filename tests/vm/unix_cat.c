/* SPDX-License-Identifier: Apache-2.0 */
/* usage: unix_cat connect PATH   stdin to the socket, then what it answers to stdout
 *        unix_cat listen PATH    answers each connection with what came and its length
 * Static, to be mounted into guests. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static long copy(int from, int to)
{
	char buffer[65536];
	long total = 0;
	ssize_t n;

	while ((n = read(from, buffer, sizeof(buffer))) > 0) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, buffer + done, (size_t)(n - done));
			if (w < 0)
				return -1;
		}
		total += n;
	}
	return total;
}

static int answer(int fd)
{
	static char text[1 << 20];
	char line[64];
	size_t size = 0;
	ssize_t n;

	while ((n = read(fd, text + size, sizeof(text) - size)) > 0)
		size += (size_t)n;
	n = snprintf(line, sizeof(line), "%zu bytes: ", size);
	if (write(fd, line, (size_t)n) < 0 || write(fd, text, size) < 0)
		return 1;
	close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (argc != 3)
		return 64;
	strncpy(address.sun_path, argv[2], sizeof(address.sun_path) - 1);
	if (strcmp(argv[1], "connect") == 0) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
			perror(argv[2]);
			return 1;
		}
		copy(0, fd);
		shutdown(fd, SHUT_WR);
		return copy(fd, 1) < 0;
	}
	unlink(argv[2]);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0) {
		perror(argv[2]);
		return 1;
	}
	for (;;)
		answer(accept(fd, NULL, NULL));
}
