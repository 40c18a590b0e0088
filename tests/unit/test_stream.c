/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of layers: good and bad gzip and zstd, digests, sizes. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/auth.h"
#include "image/filter.h"
#include "image/sha256.h"
#include "image/stream.h"
#include "image/verbs.h"

#define PLAIN_SIZE 1000003

/* Compressible, but not a constant. Owned by the caller. */
static struct sbuf plain_text(void)
{
	struct sbuf text = { 0 };

	for (unsigned i = 0; text.length < PLAIN_SIZE; i++)
		sbuf_addf(&text, "line %u of %u\n", i, i * 2654435761u);
	text.length = PLAIN_SIZE;
	return text;
}

/* Appends a gzip member. */
static void gzip(struct sbuf *out, const void *data, size_t size)
{
	z_stream z = { .next_in = (Bytef *)data, .avail_in = (uInt)size };
	AUTO_FREE Bytef *buffer = xmalloc(size + 1024);

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_out = buffer;
	z.avail_out = (uInt)(size + 1024);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	sbuf_add_bytes(out, buffer, z.total_out);
	deflateEnd(&z);
}

static void zstd(struct sbuf *out, const void *data, size_t size, int window_log)
{
	size_t bound = ZSTD_compressBound(size);
	AUTO_FREE char *buffer = xmalloc(bound);
	ZSTD_CCtx *context = ZSTD_createCCtx();
	ZSTD_inBuffer in = { data, size, 0 };
	ZSTD_outBuffer result = { buffer, bound, 0 };

	if (window_log)
		ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
	ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
	/* In two steps: whoever knows the size at once makes the window fit it. */
	ZSTD_compressStream2(context, &result, &in, ZSTD_e_continue);
	assert_int_equal(ZSTD_compressStream2(context, &result, &in, ZSTD_e_end), 0);
	sbuf_add_bytes(out, buffer, result.pos);
	ZSTD_freeCCtx(context);
}

/* A stream of memory that hands out at most `step` bytes at a time. */
struct drip {
	struct stream stream;
	const char *data;
	size_t size, step;
};

static ssize_t drip_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct drip *self = (struct drip *)stream;
	size_t n = self->size < self->step ? self->size : self->step;

	*ret_data = self->data;
	self->data += n;
	self->size -= n;
	return (ssize_t)n;
}

static void drip_free(struct stream *stream)
{
	free(stream);
}

static struct stream *drip_new(const struct sbuf *data, size_t step)
{
	static const struct stream_ops ops = { .read = drip_read, .free = drip_free };
	struct drip *self = xcalloc(1, sizeof(*self));

	*self = (struct drip){ { &ops, 1 }, data->text, data->length, step };
	return &self->stream;
}

/* Decompresses with input in steps and compares; 0 or the error. */
static int inflate_all(const struct sbuf *data, size_t step, const void *expected, size_t size,
		       struct err *err)
{
	AUTO_STREAM struct stream *stream = stream_decompress_new(drip_new(data, step));
	CLEANUP(sbuf_release) struct sbuf out = { 0 };
	const void *piece;
	ssize_t n;

	while ((n = stream_read(stream, &piece, err)) > 0)
		sbuf_add_bytes(&out, piece, (size_t)n);
	if (n < 0)
		return (int)n;
	assert_int_equal(out.length, size);
	if (size > 0)
		assert_memory_equal(out.text, expected, size);
	return 0;
}

static void test_good_compressions(void **state)
{
	static const size_t steps[] = { 1, 7, 4096, 262144 };
	CLEANUP(sbuf_release) struct sbuf plain = plain_text();
	CLEANUP(sbuf_release) struct sbuf gz = { 0 };
	CLEANUP(sbuf_release) struct sbuf members = { 0 };
	CLEANUP(sbuf_release) struct sbuf zst = { 0 };
	CLEANUP(sbuf_release) struct sbuf frames = { 0 };
	struct err err = { 0 };

	gzip(&gz, plain.text, plain.length);
	gzip(&members, plain.text, 1000);
	gzip(&members, "", 0);
	gzip(&members, plain.text + 1000, plain.length - 1000);
	zstd(&zst, plain.text, plain.length, 0);
	zstd(&frames, plain.text, 500000, 0);
	sbuf_add_bytes(&frames, "\x50\x2a\x4d\x18\x03\0\0\0abc", 11); /* skippable */
	zstd(&frames, plain.text + 500000, plain.length - 500000, 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_int_equal(inflate_all(&plain, steps[i], plain.text, plain.length, &err), 0);
		assert_int_equal(inflate_all(&gz, steps[i], plain.text, plain.length, &err), 0);
		assert_int_equal(inflate_all(&members, steps[i], plain.text, plain.length, &err),
				 0);
		assert_int_equal(inflate_all(&zst, steps[i], plain.text, plain.length, &err), 0);
		assert_int_equal(inflate_all(&frames, steps[i], plain.text, plain.length, &err), 0);
	}
}

static void test_short_inputs_pass(void **state)
{
	const struct sbuf inputs[] = { { "", 0, 0 }, { "x", 1, 0 }, { "abcdefg", 7, 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		assert_int_equal(inflate_all(&inputs[i], 1, inputs[i].text, inputs[i].length, NULL),
				 0);
}

static void expect_bad(const struct sbuf *data, int code, const char *message)
{
	static const size_t steps[] = { 1, 4096, 262144 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct err err = { 0 };
		int r = inflate_all(data, steps[i], NULL, SIZE_MAX, &err);

		assert_int_equal(r, code);
		if (!strstr(err.message, message))
			fail_msg("step %zu: '%s' lacks '%s'", steps[i], err.message, message);
	}
}

static void test_bad_gzip(void **state)
{
	CLEANUP(sbuf_release) struct sbuf plain = plain_text();
	CLEANUP(sbuf_release) struct sbuf gz = { 0 };
	struct sbuf cut;

	gzip(&gz, plain.text, plain.length);
	for (size_t n = 1; n <= 9; n++) { /* within the trailer */
		cut = (struct sbuf){ gz.text, gz.length - n, 0 };
		expect_bad(&cut, -EBADMSG, "cut off");
	}
	cut = (struct sbuf){ gz.text, gz.length / 2, 0 };
	expect_bad(&cut, -EBADMSG, "cut off");
	cut = (struct sbuf){ gz.text, 5, 0 }; /* within the header */
	expect_bad(&cut, -EBADMSG, "cut off");
	gz.text[gz.length - 6] ^= 1; /* CRC */
	expect_bad(&gz, -EBADMSG, "checksum");
	gz.text[gz.length - 6] ^= 1;
	gz.text[gz.length - 1] ^= 1; /* length */
	expect_bad(&gz, -EBADMSG, "checksum");
	gz.text[gz.length - 1] ^= 1;
	sbuf_add(&gz, "garbage");
	expect_bad(&gz, -EBADMSG, "garbage");
}

static void test_gzip_followed_by_zeros_or_half_a_member_is_bad(void **state)
{
	CLEANUP(sbuf_release) struct sbuf zeros = { 0 };
	CLEANUP(sbuf_release) struct sbuf half = { 0 };

	gzip(&zeros, "hello", 5);
	sbuf_add_bytes(&zeros, "\0\0\0\0", 4);
	expect_bad(&zeros, -EBADMSG, "garbage");
	gzip(&half, "hello", 5);
	gzip(&half, "hello", 5);
	half.length -= 10;
	expect_bad(&half, -EBADMSG, "cut off");
}

static void test_bad_zstd(void **state)
{
	CLEANUP(sbuf_release) struct sbuf plain = plain_text();
	CLEANUP(sbuf_release) struct sbuf zst = { 0 };
	CLEANUP(sbuf_release) struct sbuf bomb = { 0 };
	struct sbuf cut;

	zstd(&zst, plain.text, plain.length, 0);
	cut = (struct sbuf){ zst.text, zst.length - 1, 0 };
	expect_bad(&cut, -EBADMSG, "cut off");
	cut = (struct sbuf){ zst.text, zst.length / 2, 0 };
	expect_bad(&cut, -EBADMSG, "cut off");
	sbuf_add(&zst, "garbage");
	expect_bad(&zst, -EBADMSG, "damaged");
	zstd(&bomb, plain.text, plain.length, 27); /* asks for a window of 128 MiB */
	expect_bad(&bomb, -E2BIG, "window");
}

static void test_uncommon_compression_is_named(void **state)
{
	const struct sbuf xz = { "\xfd"
				 "7zXZ\0\0\0",
				 8, 0 };

	expect_bad(&xz, -ENOTSUP, "xz");
}

static void test_filter_passes_gzip_and_plain(void **state)
{
	CLEANUP(sbuf_release) struct sbuf gz = { 0 };
	const size_t steps[] = { 1, 3, 100000 };

	gzip(&gz, "hello", 5);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		AUTO_STREAM struct stream *stream = stream_filter_new(drip_new(&gz, steps[i]));
		AUTO_FREE char *text = NULL;
		size_t size;

		assert_int_equal(stream_read_text(stream, 1000, &text, &size, NULL), 0);
		assert_int_equal(size, gz.length);
		assert_memory_equal(text, gz.text, size);
	}
}

static int digest_of(const char *data, const char *expected, uint64_t size, struct err *err)
{
	AUTO_STREAM struct stream *stream = stream_digest_new(stream_memory_new(data, strlen(data)),
							      "blob", expected, size, NULL);

	return stream_drain(stream, err);
}

static void test_digest_and_size_are_checked(void **state)
{
	static const char abc[] =
		"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct err err = { 0 };

	assert_int_equal(digest_of("abc", abc, 3, &err), 0);
	assert_int_equal(digest_of("abc", abc, STREAM_SIZE_UNKNOWN, &err), 0);
	assert_int_equal(digest_of("abd", abc, 3, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "does not match its digest"));
	assert_int_equal(digest_of("abc", abc, 2, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "more than its 2 bytes"));
	assert_int_equal(digest_of("abc", abc, 4, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "3 bytes instead of 4"));
}

static void test_errors_stay(void **state)
{
	AUTO_STREAM struct stream *stream =
		stream_digest_new(stream_memory_new("abc", 3), "blob", "sha256:x", 3, NULL);
	const void *data;

	assert_int_equal(stream_read(stream, &data, NULL), 3);
	assert_int_equal(stream_read(stream, &data, NULL), -EBADMSG);
	assert_int_equal(stream_read(stream, &data, NULL), -EBADMSG);
}

static void test_text_is_bounded(void **state)
{
	AUTO_STREAM struct stream *stream = stream_memory_new("abcdef", 6);
	AUTO_FREE char *text = NULL;

	assert_int_equal(stream_read_text(stream, 5, &text, NULL, NULL), -E2BIG);
}

static void test_changes(void **state)
{
	static const char *const good[] = {
		"CMD [\"a\",\"b\"]", "ENTRYPOINT run it",  "ENV A=1 B=\"two words\"",
		"ENV A=3",           "ENV OLD some text",  "LABEL a.b=c",
		"EXPOSE 80 53/udp",  "VOLUME [\"/data\"]", "WORKDIR /w",
		"USER nobody",       "stopsignal SIGINT",
	};
	static const char *const bad[] = { "",       "CMD",         "RUN x",  "ENV",
					   "ENV =x", "EXPOSE http", "LABEL x" };
	AUTO_JSON json_t *config = json_object();
	AUTO_FREE char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(change_apply(config, good[i], NULL), 0);
	text = json_text(config);
	assert_string_equal(
		text, "{\"Cmd\":[\"a\",\"b\"],\"Entrypoint\":[\"/bin/sh\",\"-c\",\"run it\"],"
		      "\"Env\":[\"B=two words\",\"A=3\",\"OLD=some text\"],"
		      "\"ExposedPorts\":{\"53/udp\":{},\"80/tcp\":{}},\"Labels\":{\"a.b\":\"c\"},"
		      "\"StopSignal\":\"SIGINT\",\"User\":\"nobody\",\"Volumes\":{\"/data\":{}},"
		      "\"WorkingDir\":\"/w\"}");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (change_apply(config, bad[i], NULL) != -EINVAL)
			fail_msg("accepted '%s'", bad[i]);
}

static void test_challenges(void **state)
{
	CLEANUP(challenge_release) struct challenge bearer = { 0 };
	struct challenge basic = { .bearer = true };
	struct challenge none;

	assert_int_equal(challenge_parse("Bearer realm=\"https://a/t?x=1\",service=\"s \\\"q\\\"\","
					 " scope=repository:a:pull",
					 &bearer, NULL),
			 0);
	assert_true(bearer.bearer);
	assert_string_equal(bearer.realm, "https://a/t?x=1");
	assert_string_equal(bearer.service, "s \"q\"");
	assert_string_equal(bearer.scope, "repository:a:pull");
	assert_int_equal(challenge_parse("basic realm=x", &basic, NULL), 0);
	assert_false(basic.bearer);
	assert_int_equal(challenge_parse("Bearer", &none, NULL), -EBADMSG);
	assert_int_equal(challenge_parse("Negotiate abc", &none, NULL), -ENOTSUP);
	assert_int_equal(challenge_parse("", &none, NULL), -ENOTSUP);
}

static void write_config(const char *directory, const char *text)
{
	AUTO_FREE char *path = path_join(directory, "config.json");

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, false, NULL), 0);
}

static void test_credentials(void **state)
{
	struct credentials found;

	assert_int_equal(credentials_find(*state, "a.io", &found, NULL), 0); /* no file */
	assert_null(found.username);
	write_config(*state, "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"dTpwOnE=\"},"
			     "\"a.io\":{\"username\":\"x\",\"password\":\"y\"},"
			     "\"b.io\":{\"identitytoken\":\"t\"},\"c.io\":{\"auth\":\"!!\"}}}");
	assert_int_equal(credentials_find(*state, "docker.io", &found, NULL), 0);
	assert_string_equal(found.username, "u");
	assert_string_equal(found.password, "p:q");
	credentials_release(&found);
	assert_int_equal(credentials_find(*state, "a.io", &found, NULL), 0);
	assert_string_equal(found.password, "y");
	credentials_release(&found);
	assert_int_equal(credentials_find(*state, "b.io", &found, NULL), 0);
	assert_string_equal(found.identity_token, "t");
	credentials_release(&found);
	assert_int_equal(credentials_find(*state, "c.io", &found, NULL), -EBADMSG);
	credentials_release(&found);
	write_config(*state, "{\"credsStore\":\"../evil\"}");
	assert_int_equal(credentials_find(*state, "a.io", &found, NULL), -EINVAL);
	credentials_release(&found);
	write_config(*state, "not json");
	assert_int_equal(credentials_find(*state, "a.io", &found, NULL), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_compressions),
		cmocka_unit_test(test_short_inputs_pass),
		cmocka_unit_test(test_bad_gzip),
		cmocka_unit_test(test_gzip_followed_by_zeros_or_half_a_member_is_bad),
		cmocka_unit_test(test_bad_zstd),
		cmocka_unit_test(test_uncommon_compression_is_named),
		cmocka_unit_test(test_filter_passes_gzip_and_plain),
		cmocka_unit_test(test_digest_and_size_are_checked),
		cmocka_unit_test(test_errors_stay),
		cmocka_unit_test(test_text_is_bounded),
		cmocka_unit_test(test_changes),
		cmocka_unit_test(test_challenges),
		TEST_IN_DIR(test_credentials),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
