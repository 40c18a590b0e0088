/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/ctl.h"

#include <errno.h>

#include "proto/pack.h"

void ctl_error_encode(const struct ctl_error *error, struct sbuf *out)
{
	pack_u32(out, (uint32_t)-error->code);
	pack_u32(out, error->status);
	pack_string(out, error->message);
}

int ctl_error_decode(const uint8_t *data, size_t size, struct ctl_error *ret_error)
{
	struct unpack in = { .data = data, .size = size };
	uint32_t code = unpack_u32(&in);
	struct ctl_error error = { .status = unpack_u32(&in), .message = unpack_string(&in) };

	if (unpack_done(&in) < 0 || code == 0 || code > 4095)
		return -EPROTO;
	error.code = -(int)code;
	*ret_error = error;
	return 0;
}

void ctl_exited_encode(const struct ctl_exited *exited, struct sbuf *out)
{
	pack_u32(out, exited->status);
	pack_u8(out, exited->oom_killed);
}

int ctl_exited_decode(const uint8_t *data, size_t size, struct ctl_exited *ret_exited)
{
	struct unpack in = { .data = data, .size = size };
	struct ctl_exited exited = { .status = unpack_u32(&in), .oom_killed = unpack_u8(&in) };

	if (unpack_done(&in) < 0 || exited.status > 255)
		return -EPROTO;
	*ret_exited = exited;
	return 0;
}

void ctl_numbers_encode(uint32_t first, uint32_t second, struct sbuf *out)
{
	pack_u32(out, first);
	pack_u32(out, second);
}

int ctl_numbers_decode(const uint8_t *data, size_t size, uint32_t *ret_first, uint32_t *ret_second)
{
	struct unpack in = { .data = data, .size = size };
	uint32_t first = unpack_u32(&in);
	uint32_t second = unpack_u32(&in);

	if (unpack_done(&in) < 0)
		return -EPROTO;
	*ret_first = first;
	if (ret_second)
		*ret_second = second;
	return 0;
}

void ctl_saved_encode(const struct ctl_saved *saved, struct sbuf *out)
{
	pack_u64(out, saved->frozen_us);
	pack_u64(out, saved->stopped_us);
	pack_u64(out, saved->changed_pages);
}

int ctl_saved_decode(const uint8_t *data, size_t size, struct ctl_saved *ret_saved)
{
	struct unpack in = { .data = data, .size = size };
	struct ctl_saved saved;
	int r;

	saved.frozen_us = unpack_u64(&in);
	saved.stopped_us = unpack_u64(&in);
	saved.changed_pages = unpack_u64(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_saved = saved;
	return r;
}

void ctl_string_encode(const char *text, struct sbuf *out)
{
	pack_string(out, text);
}

int ctl_string_decode(const uint8_t *data, size_t size, const char **ret_text)
{
	struct unpack in = { .data = data, .size = size };
	const char *text = unpack_string(&in);
	int r = unpack_done(&in);

	if (r == 0)
		*ret_text = text;
	return r;
}

void ctl_update_encode(const struct config_limits *limits, struct sbuf *out)
{
	pack_u32(out, limits->cpu_hundredths);
	pack_u64(out, limits->memory_bytes);
	pack_u32(out, limits->pids_limit);
	pack_string(out, str_or(limits->restart, ""));
}

int ctl_update_decode(const uint8_t *data, size_t size, struct config_limits *ret_limits)
{
	struct unpack in = { .data = data, .size = size };
	struct config_limits limits;
	int r;

	limits.cpu_hundredths = unpack_u32(&in);
	limits.memory_bytes = unpack_u64(&in);
	limits.pids_limit = unpack_u32(&in);
	limits.restart = unpack_string(&in);
	r = unpack_done(&in);
	if (r == 0)
		*ret_limits = limits;
	return r;
}
