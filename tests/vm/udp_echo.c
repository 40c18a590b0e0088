/* SPDX-License-Identifier: Apache-2.0 */
/* udp_echo PORT: says "up", then sends every datagram back to where it came from. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char data[2048];

	from.sin_port = htons((unsigned short)(argc == 2 ? strtoul(argv[1], NULL, 10) : 0));
	if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return 1;
	puts("up");
	fflush(stdout);
	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &size);

		if (n >= 0)
			sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}
