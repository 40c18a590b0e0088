/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of a lane, and what a guest says of it. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "proto/bulk.h"
#include "shim/bulk_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *lane; /* sanitized: not a byte beyond it is to be read */
	AUTO_CLOSE int output = open("/dev/null", O_WRONLY | O_CLOEXEC);
	uint64_t moved = 0;
	struct err err = { 0 };
	int up[2];
	int down[2];

	if (!lane)
		lane = malloc(BULK_LANE);
	/* What pipes take at once. */
	if (!lane || size > 4096 || pipe2(up, O_CLOEXEC) < 0)
		return 0;
	if (pipe2(down, O_CLOEXEC) == 0) {
		fd_write_all(up[1], data, size);
		close(TAKE_FD(up[1]));
		bulk_pump_out(lane, output, up[0], down[1], &moved, &err);
		close(down[0]);
		close(down[1]);
	}
	if (up[1] >= 0)
		close(up[1]);
	close(up[0]);
	return 0;
}
