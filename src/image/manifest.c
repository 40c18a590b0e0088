/* SPDX-License-Identifier: Apache-2.0 */
#include "image/manifest.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/sha256.h"

/* Types of whole documents; a document without a type of its own is OCI's by its members. */
static const struct {
	const char *media_type;
	bool is_index;
} document_types[] = {
	{ MEDIA_OCI_INDEX, true },
	{ MEDIA_DOCKER_LIST, true },
	{ MEDIA_OCI_MANIFEST, false },
	{ MEDIA_DOCKER_MANIFEST, false },
};

static const char *const layer_types[] = {
	MEDIA_OCI_LAYER,
	MEDIA_OCI_LAYER "+gzip",
	MEDIA_OCI_LAYER "+zstd",
	"application/vnd.docker.image.rootfs.diff.tar",
	"application/vnd.docker.image.rootfs.diff.tar.gzip",
	"application/vnd.docker.image.rootfs.diff.tar.zstd",
};

void descriptor_release(struct descriptor *descriptor)
{
	free(descriptor->media_type);
	free(descriptor->digest);
	*descriptor = (struct descriptor){ 0 };
}

void descriptors_release(struct descriptors *descriptors)
{
	VEC_EACH (descriptors, it)
		descriptor_release(it);
	VEC_FREE(descriptors);
}

struct descriptor descriptor_copy(const struct descriptor *descriptor)
{
	return (struct descriptor){ .media_type = xstrdup(descriptor->media_type),
				    .digest = xstrdup(descriptor->digest),
				    .size = descriptor->size };
}

json_t *descriptor_json(const struct descriptor *descriptor)
{
	json_t *json = json_object();

	json_set_string(json, "mediaType", descriptor->media_type);
	json_set_string(json, "digest", descriptor->digest);
	json_object_set_new(json, "size", json_integer((json_int_t)descriptor->size));
	return json;
}

static int descriptor_parse(const json_t *json, const char *what, struct descriptor *ret_descriptor,
			    struct err *err)
{
	const char *digest = json_get_string(json, "digest");
	int64_t size = json_get_int(json, "size", -1);

	if (!json_is_object(json))
		return err_set(err, -EBADMSG, "the manifest has no %s descriptor", what);
	if (!content_digest_valid(digest))
		return err_set(err, -EBADMSG, "the %s descriptor has no valid sha256 digest", what);
	if (size < 0)
		return err_set(err, -EBADMSG, "the %s descriptor %s has no valid size", what,
			       digest);
	*ret_descriptor = (struct descriptor){
		.media_type = xstrdup(str_or(json_get_string(json, "mediaType"), "")),
		.digest = xstrdup(digest),
		.size = (uint64_t)size,
	};
	return 0;
}

static void platform_of(const json_t *json, struct platform *platform)
{
	const char *os = json_get_string(json, "os");
	const char *architecture = json_get_string(json, "architecture");

	*platform = (struct platform){ 0 };
	if (!os || !architecture || strlen(os) >= sizeof(platform->os) ||
	    strlen(architecture) >= sizeof(platform->architecture))
		return;
	snprintf(platform->os, sizeof(platform->os), "%s", os);
	snprintf(platform->architecture, sizeof(platform->architecture), "%s", architecture);
	snprintf(platform->variant, sizeof(platform->variant), "%s",
		 str_or(json_get_string(json, "variant"), ""));
}

static int parse_index(const json_t *document, struct manifest *manifest, struct err *err)
{
	const json_t *array = json_get_array(document, "manifests");
	size_t i;
	json_t *item;

	if (!array)
		return err_set(err, -EBADMSG, "the index has no list of manifests");
	if (json_array_size(array) > MANIFEST_INDEX_MAX)
		return err_set(err, -E2BIG, "the index lists more than %d manifests",
			       MANIFEST_INDEX_MAX);
	json_array_foreach (array, i, item) {
		struct descriptor descriptor = { 0 };
		struct platform platform;
		int r = descriptor_parse(item, "manifest", &descriptor, err);

		if (r < 0)
			return r;
		platform_of(json_get_object(item, "platform"), &platform);
		VEC_PUSH(&manifest->manifests, descriptor);
		VEC_PUSH(&manifest->platforms, platform);
	}
	return 0;
}

static int check_layer(const json_t *json, const struct descriptor *layer, struct err *err)
{
	const char *type = layer->media_type;

	if (strstr(type, "nondistributable") || strstr(type, ".foreign.") ||
	    json_array_size(json_get_array(json, "urls")) > 0)
		return err_set(err, -ENOTSUP,
			       "layer %s is a foreign layer, whose content is not in the registry",
			       layer->digest);
	for (size_t i = 0; i < ARRAY_SIZE(layer_types); i++)
		if (str_eq(layer_types[i], type))
			return 0;
	return err_set(err, -ENOTSUP, "layer %s has the unsupported type '%s'", layer->digest,
		       type);
}

static int parse_image_manifest(const json_t *document, struct manifest *manifest, struct err *err)
{
	const json_t *layers = json_get_array(document, "layers");
	const char *type;
	size_t i;
	json_t *item;
	int r = descriptor_parse(json_object_get(document, "config"), "config", &manifest->config,
				 err);

	if (r < 0)
		return r;
	type = manifest->config.media_type;
	if (!str_eq(type, MEDIA_OCI_CONFIG) && !str_eq(type, MEDIA_DOCKER_CONFIG))
		return err_set(err, -ENOTSUP,
			       "it is not a container image (its config has type '%s')", type);
	if (manifest->config.size > CONTENT_DOCUMENT_MAX)
		return err_set(err, -E2BIG, "the image's config is larger than %d bytes",
			       CONTENT_DOCUMENT_MAX);
	if (!layers)
		return err_set(err, -EBADMSG, "the manifest has no list of layers");
	if (json_array_size(layers) > MANIFEST_LAYERS_MAX)
		return err_set(err, -E2BIG, "the image has more than %d layers",
			       MANIFEST_LAYERS_MAX);
	json_array_foreach (layers, i, item) {
		struct descriptor layer = { 0 };

		r = descriptor_parse(item, "layer", &layer, err);
		if (r < 0)
			return r;
		VEC_PUSH(&manifest->layers, layer);
		r = check_layer(item, &layer, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The document's type by its own word, its members, or the transport's word. */
static int find_type(const json_t *document, const char *media_type, struct manifest *manifest,
		     struct err *err)
{
	const char *own = json_get_string(document, "mediaType");
	bool has_manifests = json_get_array(document, "manifests");
	bool has_layers = json_get_array(document, "layers");
	const char *type = own;

	if (!json_is_object(document))
		return err_set(err, -EBADMSG, "the manifest is not a JSON object");
	if (json_get_int(document, "schemaVersion", 2) == 1 || json_get_array(document, "fsLayers"))
		return err_set(
			err, -ENOTSUP,
			"the image has a manifest of Docker's schema 1, which is obsolete and not "
			"supported; push it again with a current tool");
	if (json_get_int(document, "schemaVersion", 2) != 2)
		return err_set(err, -ENOTSUP, "the manifest has an unknown schema version");
	if (has_manifests && has_layers) /* CVE-2021-41190: one text, two readings */
		return err_set(err, -EBADMSG,
			       "the manifest is ambiguous: it lists layers and manifests");
	if (!type && media_type && strstr(media_type, "application/vnd."))
		type = media_type;
	if (!type)
		type = has_manifests ? MEDIA_OCI_INDEX : MEDIA_OCI_MANIFEST;
	for (size_t i = 0; i < ARRAY_SIZE(document_types); i++)
		if (str_eq(document_types[i].media_type, type)) {
			manifest->media_type = document_types[i].media_type;
			manifest->is_index = document_types[i].is_index;
			if (own && media_type && strstr(media_type, "application/vnd.") &&
			    !str_eq(own, media_type))
				return err_set(err, -EBADMSG,
					       "the manifest says it is '%s' but was sent as '%s'",
					       own, media_type);
			return 0;
		}
	return err_set(err, -ENOTSUP, "manifests of type '%s' are not supported", type);
}

int manifest_parse(const json_t *document, const char *media_type, struct manifest *ret_manifest,
		   struct err *err)
{
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	int r = find_type(document, media_type, &manifest, err);

	if (r == 0)
		r = manifest.is_index ? parse_index(document, &manifest, err)
				      : parse_image_manifest(document, &manifest, err);
	if (r < 0)
		return r;
	manifest.snapshot = xstrdup(
		json_get_string(json_get_object(document, "annotations"), MANIFEST_SNAPSHOT));
	*ret_manifest = manifest;
	manifest = (struct manifest){ 0 };
	return 0;
}

void manifest_release(struct manifest *manifest)
{
	descriptor_release(&manifest->config);
	descriptors_release(&manifest->layers);
	free(manifest->snapshot);
	descriptors_release(&manifest->manifests);
	VEC_FREE(&manifest->platforms);
}

int manifest_find_platform(const struct manifest *index, const struct platform *platform)
{
	for (size_t i = 0; i < index->platforms.count; i++)
		if (platform_matches(platform, &index->platforms.items[i]))
			return (int)i;
	return -ENOENT;
}

char *manifest_platforms_text(const struct manifest *index)
{
	struct sbuf text = { 0 };

	VEC_EACH (&index->platforms, it) {
		AUTO_FREE char *one = platform_text(it);

		if (it->os[0] == '\0' || str_eq(it->os, "unknown")) /* attestations */
			continue;
		sbuf_addf(&text, "%s%s", text.length ? ", " : "", one);
	}
	return sbuf_take(&text);
}

int manifest_no_platform(const char *name, const struct platform *want, const char *available,
			 struct err *err)
{
	AUTO_FREE char *text = platform_text(want);

	return err_set(err, -ENOENT,
		       "image '%s' has no content for platform %s; available platforms: %s", name,
		       text, available[0] ? available : "none");
}

int image_config_parse(const json_t *config, size_t count, struct platform *ret_platform,
		       char ***ret_diff_ids, struct err *err)
{
	const json_t *array = json_get_array(json_get_object(config, "rootfs"), "diff_ids");
	AUTO_STRV char **diff_ids = NULL;
	struct platform platform;
	size_t i;
	json_t *item;

	if (!json_is_object(config))
		return err_set(err, -EBADMSG, "the image's config is not a JSON object");
	if (json_array_size(array) != count)
		return err_set(err, -EBADMSG, "the image has %zu layers but its config lists %zu",
			       count, json_array_size(array));
	json_array_foreach (array, i, item) {
		if (!content_digest_valid(json_string_value(item)))
			return err_set(err, -EBADMSG, "the image's config has an invalid diff id");
		strv_push(&diff_ids, json_string_value(item));
	}
	platform_of(config, &platform);
	if (platform.os[0] == '\0') /* old builders left it out */
		platform = platform_host();
	*ret_platform = platform;
	*ret_diff_ids = TAKE_PTR(diff_ids);
	return 0;
}

char *disk_key_of(char *const *diff_ids)
{
	CLEANUP(sbuf_release) struct sbuf text = { 0 };
	char key[65];

	STRV_EACH (diff_ids, it)
		sbuf_addf(&text, "%s\n", *it);
	sha256_hex(str_or(text.text, ""), text.length, key);
	return xstrdup(key);
}
