/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "image/content.h"
#include "image/manifest.h"
#include "image/platform.h"
#include "image/ref.h"
#include "image/sha256.h"

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

static void test_references(void **state)
{
	static const struct {
		const char *text, *normalised; /* NULL: refused */
	} cases[] = {
		{ "alpine", "docker.io/library/alpine:latest" },
		{ "alpine:3.19", "docker.io/library/alpine:3.19" },
		{ "user/app", "docker.io/user/app:latest" },
		{ "docker.io/alpine", "docker.io/library/alpine:latest" },
		{ "index.docker.io/library/alpine", "docker.io/library/alpine:latest" },
		{ "ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1" },
		{ "localhost/x", "localhost/x:latest" },
		{ "localhost:5000/x:1", "localhost:5000/x:1" },
		{ "[::1]:5000/x", "[::1]:5000/x:latest" },
		{ "127.0.0.1:80/a_b/c__d/e-f--g", "127.0.0.1:80/a_b/c__d/e-f--g:latest" },
		{ "a@sha256:" HEX_A, "docker.io/library/a@sha256:" HEX_A },
		{ "a:t@sha256:" HEX_A, "docker.io/library/a:t@sha256:" HEX_A },
		{ "a:t..", "docker.io/library/a:t.." },
		{ "a:UPPER_ok.-", "docker.io/library/a:UPPER_ok.-" },
		{ "", NULL },
		{ "Upper", NULL },
		{ "a/", NULL },
		{ "/a", NULL },
		{ "a//b", NULL },
		{ "a/../b", NULL },
		{ "../a", NULL },
		{ "a..b", NULL },
		{ "a___b", NULL },
		{ "-a", NULL },
		{ "a-", NULL },
		{ "a b", NULL },
		{ "a:", NULL },
		{ "a:-x", NULL },
		{ "a:.x", NULL },
		{ "a:b/c:d:e", NULL },
		{ "a@sha256:abc", NULL },
		{ "a@md5:" HEX_A, NULL },
		{ "host.io:99999/x", NULL },
		{ "host.io:x/y", NULL },
		{ "[zz]/x", NULL },
		{ "a\nb", NULL },
		{ "h.io/%2e%2e/x", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(image_ref_release) struct image_ref ref = { 0 };
		AUTO_FREE char *text = NULL;
		struct err err = { 0 };
		int r = image_ref_parse(cases[i].text, NULL, &ref, &err);

		if (!cases[i].normalised) {
			if (r != -EINVAL)
				fail_msg("accepted '%s'", cases[i].text);
			assert_true(err.message[0] != '\0');
			continue;
		}
		if (r < 0)
			fail_msg("refused '%s': %s", cases[i].text, err.message);
		text = image_ref_text(&ref);
		assert_string_equal(text, cases[i].normalised);
	}
}

static void test_reference_default_registry_and_short_form(void **state)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *library = image_ref_short("docker.io/library/alpine:3");
	AUTO_FREE char *user = image_ref_short("docker.io/user/app:1");
	AUTO_FREE char *other = image_ref_short("ghcr.io/a/b:1");

	assert_int_equal(image_ref_parse("tools/x", "registry.lan", &ref, NULL), 0);
	text = image_ref_text(&ref);
	assert_string_equal(text, "registry.lan/tools/x:latest");
	assert_string_equal(library, "alpine:3");
	assert_string_equal(user, "user/app:1");
	assert_string_equal(other, "ghcr.io/a/b:1");
}

static void test_platforms(void **state)
{
	static const struct {
		const char *text, *normalised;
	} cases[] = {
		{ "linux/amd64", "linux/amd64" },
		{ "linux/x86_64", "linux/amd64" },
		{ "linux/aarch64", "linux/arm64/v8" },
		{ "linux/arm64", "linux/arm64/v8" },
		{ "linux/arm/v6", "linux/arm/v6" },
		{ "Linux/AMD64", "linux/amd64" },
		{ "arm64", "linux/arm64/v8" },
		{ "linux/", NULL },
		{ "", NULL },
		{ "a/b/c/d", NULL },
		{ "linux/a b", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct platform platform;
		AUTO_FREE char *text = NULL;
		int r = platform_parse(cases[i].text, &platform, NULL);

		assert_int_equal(r, cases[i].normalised ? 0 : -EINVAL);
		if (r < 0)
			continue;
		text = platform_text(&platform);
		assert_string_equal(text, cases[i].normalised);
	}
}

static void test_platform_matching(void **state)
{
	static const struct {
		const char *want, *have;
		bool matches;
	} cases[] = {
		{ "linux/arm64", "linux/arm64/v8", true },
		{ "linux/amd64", "linux/amd64", true },
		{ "linux/arm", "linux/arm/v7", true },
		{ "linux/arm/v6", "linux/arm/v7", false },
		{ "linux/amd64", "windows/amd64", false },
		{ "linux/amd64", "linux/arm64", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct platform want;
		struct platform have;

		assert_int_equal(platform_parse(cases[i].want, &want, NULL), 0);
		assert_int_equal(platform_parse(cases[i].have, &have, NULL), 0);
		assert_int_equal(platform_matches(&want, &have), cases[i].matches);
	}
}

static void test_sha256_matches_its_standard(void **state)
{
	static const struct {
		const char *text, *hex;
	} cases[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	AUTO_FREE char *million = malloc(1000000);
	char hex[65];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		sha256_hex(cases[i].text, strlen(cases[i].text), hex);
		assert_string_equal(hex, cases[i].hex);
	}
	memset(million, 'a', 1000000);
	sha256_hex(million, 1000000, hex);
	assert_string_equal(hex,
			    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static int parse_text(const char *text, const char *media_type, struct err *err)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	AUTO_JSON json_t *json = NULL;

	assert_int_equal(json_parse(text, strlen(text), "test", &json, NULL), 0);
	return manifest_parse(json, media_type, &manifest, err);
}

#define CONFIG                                                                          \
	"\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"sha256:" HEX_A \
	"\",\"size\":2}"
#define LAYER(type, more) \
	"{\"mediaType\":\"" type "\",\"digest\":\"sha256:" HEX_B "\",\"size\":3" more "}"
#define MANIFEST(layers) "{\"schemaVersion\":2," CONFIG ",\"layers\":[" layers "]}"

static void test_manifests(void **state)
{
	static const struct {
		const char *text, *media_type, *message; /* NULL: accepted */
		int r;
	} cases[] = {
		{ MANIFEST(""), NULL, NULL, 0 },
		{ MANIFEST(LAYER(MEDIA_OCI_LAYER "+gzip", "")), MEDIA_OCI_MANIFEST, NULL, 0 },
		{ MANIFEST(LAYER(MEDIA_OCI_LAYER "+zstd", "")), "text/plain", NULL, 0 },
		{ "{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1", -ENOTSUP },
		{ MANIFEST(LAYER("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "")),
		  NULL, "foreign layer", -ENOTSUP },
		{ MANIFEST(LAYER("application/vnd.oci.image.layer.nondistributable.v1.tar", "")),
		  NULL, "foreign layer", -ENOTSUP },
		{ MANIFEST(LAYER(MEDIA_OCI_LAYER, ",\"urls\":[\"http://x/\"]")), NULL,
		  "foreign layer", -ENOTSUP },
		{ MANIFEST(LAYER("text/html", "")), NULL, "unsupported type", -ENOTSUP },
		{ "{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"manifests\":[]}", NULL,
		  "ambiguous", -EBADMSG },
		{ "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":[]}",
		  MEDIA_OCI_MANIFEST, "was sent as", -EBADMSG },
		{ "{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\"}", NULL,
		  "no list of manifests", -EBADMSG },
		{ "{\"schemaVersion\":2,\"mediaType\":\"x/y\"}", NULL, "not supported", -ENOTSUP },
		{ "{\"schemaVersion\":7}", NULL, "schema version", -ENOTSUP },
		{ "[]", NULL, "not a JSON object", -EBADMSG },
		{ "{}", NULL, "no config", -EBADMSG },
		{ "{\"config\":{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\","
		  "\"digest\":\"sha256:" HEX_A "\",\"size\":1},\"layers\":[]}",
		  NULL, "not a container image", -ENOTSUP },
		{ "{\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG "\",\"digest\":\"sha256:" HEX_A
		  "\",\"size\":99999999999},\"layers\":[]}",
		  NULL, "larger than", -E2BIG },
		{ "{\"config\":{\"digest\":\"sha256:../../x\",\"size\":1},\"layers\":[]}", NULL,
		  "digest", -EBADMSG },
		{ "{\"config\":{\"digest\":\"sha256:" HEX_A "\",\"size\":-1},\"layers\":[]}", NULL,
		  "size", -EBADMSG },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = { 0 };
		int r = parse_text(cases[i].text, cases[i].media_type, &err);

		if (r != cases[i].r)
			fail_msg("case %zu: %d (%s)", i, r, err.message);
		if (cases[i].message && !strstr(err.message, cases[i].message))
			fail_msg("case %zu: '%s'", i, err.message);
	}
}

static void test_manifest_with_absurd_many_layers_is_refused(void **state)
{
	CLEANUP(sbuf_release) struct sbuf text = { 0 };
	struct err err = { 0 };

	sbuf_add(&text, "{\"schemaVersion\":2," CONFIG ",\"layers\":[0");
	for (size_t i = 0; i < MANIFEST_LAYERS_MAX; i++)
		sbuf_add(&text, ",0");
	sbuf_add(&text, "]}");
	assert_int_equal(parse_text(text.text, NULL, &err), -E2BIG);
}

/* Writes a blob under the name that its content has; the digest is owned by the caller. */
static char *put(const char *root, const char *text)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *directory = path_join(root, "content/blobs/sha256");
	struct sbuf digest = { 0 };
	char hex[65];

	sha256_hex(text, strlen(text), hex);
	sbuf_addf(&digest, "sha256:%s", hex);
	path = content_blob_path(root, digest.text);
	assert_int_equal(path_make_dirs(directory, 0700, NULL), 0);
	assert_int_equal(file_write_atomic(path, text, strlen(text), 0600, false, NULL), 0);
	return digest.text;
}

/* A manifest of one layer whose config is for the architecture. */
static char *put_image(const char *root, const char *architecture)
{
	CLEANUP(sbuf_release) struct sbuf config = { 0 };
	CLEANUP(sbuf_release) struct sbuf manifest = { 0 };
	AUTO_FREE char *config_digest = NULL;

	sbuf_addf(&config,
		  "{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"sh\"],"
		  "\"Env\":[\"A=B\",7],\"User\":\"\"},\"rootfs\":{\"diff_ids\":[\"sha256:" HEX_C
		  "\"]}}",
		  architecture);
	config_digest = put(root, config.text);
	sbuf_addf(&manifest,
		  "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" MEDIA_OCI_CONFIG
		  "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[" LAYER(MEDIA_OCI_LAYER, "") "]}",
		  config_digest, config.length);
	return put(root, manifest.text);
}

static void test_image_of_an_index(void **state)
{
	const char *root = *state;
	AUTO_FREE char *amd64 = put_image(root, "amd64");
	AUTO_FREE char *index = NULL;
	CLEANUP(sbuf_release) struct sbuf text = { 0 };
	CLEANUP(image_freep) struct image *image = NULL;
	struct image **all = NULL;
	size_t count;
	struct platform platform;
	struct image_process process;
	struct err err = { 0 };

	sbuf_addf(&text,
		  "{\"schemaVersion\":2,\"manifests\":["
		  "{\"digest\":\"sha256:" HEX_A
		  "\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
		  "{\"digest\":\"%s\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":"
		  "\"amd64\"}},"
		  "{\"digest\":\"sha256:" HEX_B
		  "\",\"size\":1,\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
		  amd64);
	index = put(root, text.text);
	assert_int_equal(platform_parse("linux/amd64", &platform, NULL), 0);
	assert_int_equal(image_open(root, "x", index, &platform, &image, &err), 0);
	assert_string_equal(image->manifest.digest, amd64);
	assert_int_equal(strlen(image->disk_key), 64);
	assert_int_equal(image->layers_size, 3);
	assert_false(image_disk_ready(root, image->disk_key));
	process = image_process_of(image);
	assert_non_null(process.cmd);
	assert_null(process.env); /* not strings only */
	assert_null(process.user);
	/* Known to the index, but not here. */
	assert_int_equal(platform_parse("linux/arm64", &platform, NULL), 0);
	assert_int_equal(image_open(root, "x", index, &platform, &(struct image *){ NULL }, &err),
			 -ENOENT);
	assert_string_equal(err.message, "image 'x' has no content for platform linux/arm64/v8; "
					 "available platforms: linux/amd64");
	assert_int_equal(image_open_all(root, index, &all, &count, &err), 0);
	assert_int_equal(count, 1);
	image_free(all[0]);
	free(all);
}

static void test_image_of_another_platform(void **state)
{
	const char *root = *state;
	AUTO_FREE char *digest = put_image(root, "riscv64");
	struct image *image = NULL;
	struct platform platform;
	struct err err = { 0 };

	assert_int_equal(platform_parse("linux/amd64", &platform, NULL), 0);
	assert_int_equal(image_open(root, "x", digest, &platform, &image, &err), -ENOENT);
	assert_non_null(strstr(err.message, "available platforms: linux/riscv64"));
	assert_int_equal(image_open(root, "x", "sha256:" HEX_A, &platform, &image, &err), -ENOENT);
}

static void test_config_must_fit_its_manifest(void **state)
{
	AUTO_JSON json_t *config = json_pack("{s:{s:[s]}}", "rootfs", "diff_ids", "sha256:" HEX_A);
	AUTO_JSON json_t *bad = json_pack("{s:{s:[s]}}", "rootfs", "diff_ids", "sha256:../x");
	struct platform platform;
	char **diff_ids = NULL;

	assert_int_equal(image_config_parse(config, 2, &platform, &diff_ids, NULL), -EBADMSG);
	assert_int_equal(image_config_parse(bad, 1, &platform, &diff_ids, NULL), -EBADMSG);
	assert_int_equal(image_config_parse(config, 1, &platform, &diff_ids, NULL), 0);
	strv_free(diff_ids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_reference_default_registry_and_short_form),
		cmocka_unit_test(test_platforms),
		cmocka_unit_test(test_platform_matching),
		cmocka_unit_test(test_sha256_matches_its_standard),
		cmocka_unit_test(test_manifests),
		cmocka_unit_test(test_manifest_with_absurd_many_layers_is_refused),
		cmocka_unit_test(test_config_must_fit_its_manifest),
		TEST_IN_DIR(test_image_of_an_index),
		TEST_IN_DIR(test_image_of_another_platform),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
