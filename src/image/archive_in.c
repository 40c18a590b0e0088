/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive_in.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/blobs.h"
#include "image/verbs.h"

#define MEMBERS_MAX 20000
#define NAME_MAX_BYTES 1024
#define LINK_DEPTH_MAX 8
#define BLOBS_PREFIX "blobs/sha256/"

/* A member by its name: stored content, or a link to another member. */
struct member {
	char *name; /* owned; without a leading "./" */
	char *link; /* owned; NULL: not a link */
	struct descriptor blob;
	enum compression kind;
};

struct reading {
	struct task *task;
	struct stream *stream; /* borrowed */
	struct err stream_err;
	struct archive *archive;
	json_t *index;    /* index.json; owned */
	json_t *manifest; /* manifest.json; owned */
	VEC(struct member) members;
	struct archive_images *images; /* borrowed */
};

void archive_images_release(struct archive_images *images)
{
	VEC_EACH (images, it) {
		free(it->reference);
		descriptor_release(&it->document);
	}
	VEC_FREE(images);
}

static void reading_release(struct reading *reading)
{
	if (reading->archive)
		archive_read_free(reading->archive);
	json_decref(reading->index);
	json_decref(reading->manifest);
	VEC_EACH (&reading->members, it) {
		free(it->name);
		free(it->link);
		descriptor_release(&it->blob);
	}
	VEC_FREE(&reading->members);
}

static la_ssize_t read_stream(struct archive *archive, void *ctx, const void **ret_data)
{
	struct reading *reading = ctx;
	ssize_t n = stream_read(reading->stream, ret_data, &reading->stream_err);

	if (n < 0)
		archive_set_error(archive, (int)-n, "%s", reading->stream_err.message);
	return n;
}

static int archive_error(struct reading *reading, struct err *err)
{
	if (reading->stream_err.code < 0)
		return err_set(err, reading->stream_err.code, "%s", reading->stream_err.message);
	return err_set(err, -EBADMSG, "the archive is damaged: %s",
		       str_or(archive_error_string(reading->archive), "it ends early"));
}

/* The data of the current member as a stream. */
struct member_stream {
	struct stream stream;
	struct reading *reading;
	char *buffer; /* owned */
};

static ssize_t member_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct member_stream *self = (struct member_stream *)stream;
	la_ssize_t n = archive_read_data(self->reading->archive, self->buffer, STREAM_BUFFER_SIZE);

	if (n < 0)
		return archive_error(self->reading, err);
	*ret_data = self->buffer;
	return n;
}

static void member_free(struct stream *stream)
{
	free(((struct member_stream *)stream)->buffer);
	free(stream);
}

static struct stream *member_stream_new(struct reading *reading)
{
	static const struct stream_ops ops = { .read = member_read, .free = member_free };
	struct member_stream *self = xcalloc(1, sizeof(*self));

	self->stream = (struct stream){ .ops = &ops, .ended = 1 };
	self->reading = reading;
	self->buffer = xmalloc(STREAM_BUFFER_SIZE);
	return &self->stream;
}

/* Passes a stream on and remembers what its first bytes are. */
struct sniff_stream {
	struct stream stream;
	struct stream *next; /* owned */
	enum compression kind;
	bool seen;
};

static ssize_t sniff_read(struct stream *stream, const void **ret_data, struct err *err)
{
	struct sniff_stream *self = (struct sniff_stream *)stream;
	ssize_t n = stream_read(self->next, ret_data, err);

	if (n > 0 && !self->seen) {
		self->kind = compression_of(*ret_data, (size_t)n);
		self->seen = true;
	}
	return n;
}

static void sniff_free(struct stream *stream)
{
	stream_free(((struct sniff_stream *)stream)->next);
	free(stream);
}

static int read_document(struct reading *reading, const char *what, json_t **slot, struct err *err)
{
	AUTO_STREAM struct stream *stream = member_stream_new(reading);
	AUTO_FREE char *text = NULL;
	size_t size;
	int r = stream_read_text(stream, CONTENT_DOCUMENT_MAX, &text, &size, err);

	if (r < 0)
		return r;
	json_decref(*slot);
	*slot = NULL;
	return json_parse(text, size, what, slot, err);
}

static int store_member(struct reading *reading, const char *name, struct err *err)
{
	static const struct stream_ops ops = { .read = sniff_read, .free = sniff_free };
	struct sniff_stream *sniff = xcalloc(1, sizeof(*sniff));
	AUTO_STREAM struct stream *stream = &sniff->stream;
	const char *hex = str_after(name, BLOBS_PREFIX);
	AUTO_FREE char *digest = hex ? xasprintf("sha256:%s", hex) : NULL;
	struct member member = { 0 };
	struct meter meter;
	int r;

	*sniff = (struct sniff_stream){ .stream = { &ops, 1 }, .next = member_stream_new(reading) };
	if (digest && !content_digest_valid(digest))
		return err_set(err, -EBADMSG, "the archive has a blob with the invalid name '%s'",
			       name);
	r = blob_put_stream(reading->task, stream, digest, &member.blob, err);
	if (r < 0)
		return r;
	meter_init(&meter, reading->task, member.blob.digest, "loading", member.blob.size);
	meter_tell(&meter, member.blob.size);
	member.name = xstrdup(name);
	member.kind = sniff->kind;
	VEC_PUSH(&reading->members, member);
	return 0;
}

/* "a/b/../c" and "../x" as links of old `docker save` tars have them, relative to the link's name.
 */
static char *resolve_link(const char *name, const char *target)
{
	AUTO_STRV char **parts = str_split(name, '/', 0);
	AUTO_STRV char **steps = str_split(target, '/', 0);
	CLEANUP(sbuf_release) struct sbuf path = { 0 };
	size_t depth = strv_count(parts) - 1;
	char **stack = xcalloc(depth + strv_count(steps) + 1, sizeof(*stack));

	memcpy(stack, parts, depth * sizeof(*stack));
	STRV_EACH (steps, it) {
		if (str_eq(*it, ".."))
			depth -= depth > 0;
		else if ((*it)[0] != '\0' && !str_eq(*it, "."))
			stack[depth++] = *it;
	}
	for (size_t i = 0; i < depth; i++)
		sbuf_addf(&path, "%s%s", i ? "/" : "", stack[i]);
	free(stack);
	return sbuf_take(&path);
}

static int take_entry(struct reading *reading, struct archive_entry *entry, struct err *err)
{
	const char *name = archive_entry_pathname(entry);
	const char *symlink = archive_entry_symlink(entry);
	const char *hardlink = archive_entry_hardlink(entry);

	if (!name || strlen(name) > NAME_MAX_BYTES)
		return err_set(err, -EBADMSG, "the archive has a member with an invalid name");
	name = str_or(str_after(name, "./"), name);
	if (reading->members.count >= MEMBERS_MAX)
		return err_set(err, -E2BIG, "the archive has more than %d members", MEMBERS_MAX);
	if (symlink || hardlink) {
		if (strlen(symlink ? symlink : hardlink) > NAME_MAX_BYTES)
			return err_set(err, -EBADMSG, "the archive has an invalid link");
		VEC_PUSH(&reading->members,
			 ((struct member){ .name = xstrdup(name),
					   .link = symlink ? resolve_link(name, symlink)
							   : xstrdup(hardlink) }));
		return 0;
	}
	if (archive_entry_filetype(entry) != AE_IFREG)
		return 0;
	if (str_eq(name, "index.json"))
		return read_document(reading, "index.json", &reading->index, err);
	if (str_eq(name, "manifest.json"))
		return read_document(reading, "manifest.json", &reading->manifest, err);
	if (str_eq(name, "oci-layout") || str_eq(name, "repositories") ||
	    str_ends(name, "/VERSION") ||
	    (str_ends(name, "/json") && !str_after(name, BLOBS_PREFIX)))
		return 0;
	return store_member(reading, name, err);
}

static const struct member *find_member(const struct reading *reading, const char *name)
{
	for (unsigned depth = 0; name && depth < LINK_DEPTH_MAX; depth++) {
		const struct member *found = NULL;

		VEC_EACH (&reading->members, it)
			if (str_eq(it->name, name))
				found = it;
		if (!found || !found->link)
			return found;
		name = found->link;
	}
	return NULL;
}

static int add_image(struct reading *reading, const char *name, const struct descriptor *document,
		     struct err *err)
{
	CLEANUP(image_ref_release) struct image_ref ref = { 0 };
	struct archive_image image = { 0 };

	if (name) {
		int r = image_ref_parse(name, NULL, &ref, err);

		if (r < 0)
			return r;
		image.reference = image_ref_text(&ref);
	}
	image.document = descriptor_copy(document);
	VEC_PUSH(reading->images, image);
	return 0;
}

/* The name that an entry of index.json has, as containerd, skopeo, podman and buildkit write it. */
static const char *annotated_name(const json_t *descriptor)
{
	const json_t *annotations = json_get_object(descriptor, "annotations");
	const char *name = json_get_string(annotations, "io.containerd.image.name");
	const char *ref = json_get_string(annotations, "org.opencontainers.image.ref.name");

	return name && name[0] ? name : ref && ref[0] ? ref : NULL;
}

/* Names that manifest.json has for the image with this config, for an index.json that has none. */
static const char *docker_name(const struct reading *reading, const char *config_digest)
{
	size_t i;
	json_t *item;

	json_array_foreach (reading->manifest, i, item) {
		const char *config = str_or(json_get_string(item, "Config"), "");

		if (config_digest && strstr(config, config_digest + strlen("sha256:")))
			return json_string_value(
				json_array_get(json_get_array(item, "RepoTags"), 0));
	}
	return NULL;
}

static int join_index(struct reading *reading, struct err *err)
{
	const char *root = reading->task->root;
	CLEANUP(manifest_release) struct manifest index = { 0 };
	const json_t *array = json_get_array(reading->index, "manifests");
	int r = manifest_parse(reading->index, NULL, &index, err);

	if (r == 0 && !index.is_index)
		r = err_set(err, -EBADMSG, "the archive's index.json lists no manifests");
	for (size_t i = 0; r == 0 && i < index.manifests.count; i++) {
		CLEANUP(manifest_release) struct manifest manifest = { 0 };
		AUTO_JSON json_t *document = NULL;
		struct descriptor *descriptor = &index.manifests.items[i];
		const char *name = annotated_name(json_array_get(array, i));

		if (!blob_present(root, descriptor->digest, descriptor->size))
			return err_set(err, -EBADMSG, "the archive lacks manifest %s",
				       descriptor->digest);
		r = content_read_json(root, descriptor->digest, &document, err);
		if (r == 0)
			r = manifest_parse(document, NULL, &manifest, err);
		if (r < 0)
			return r;
		free(descriptor->media_type);
		descriptor->media_type = xstrdup(manifest.media_type);
		if (!name)
			name = docker_name(reading, manifest.config.digest);
		r = add_image(reading, name, descriptor, err);
	}
	return r;
}

/* One image of manifest.json: its manifest is made here. */
static int join_docker_image(struct reading *reading, const json_t *item, struct err *err)
{
	const struct member *config =
		find_member(reading, str_or(json_get_string(item, "Config"), ""));
	AUTO_STRV char **names = json_get_strv(item, "Layers");
	AUTO_STRV char **tags = json_get_strv(item, "RepoTags");
	CLEANUP(descriptor_release) struct descriptor document = { 0 };
	AUTO_JSON json_t *layers = json_array();
	AUTO_JSON json_t *manifest = NULL;
	int r;

	if (!config)
		return err_set(err, -EBADMSG, "the archive lacks the config of an image");
	if (strv_count(names) > MANIFEST_LAYERS_MAX)
		return err_set(err, -E2BIG, "the image has more than %d layers",
			       MANIFEST_LAYERS_MAX);
	STRV_EACH (names, it) {
		const struct member *layer = find_member(reading, *it);
		const char *suffix = !layer || layer->kind == COMPRESSION_NONE ? ""
				     : layer->kind == COMPRESSION_GZIP         ? "+gzip"
									       : "+zstd";

		if (!layer)
			return err_set(err, -EBADMSG, "the archive lacks layer '%s'", *it);
		json_array_append_new(layers,
				      json_pack("{s:s+, s:s, s:I}", "mediaType", MEDIA_OCI_LAYER,
						suffix, "digest", layer->blob.digest, "size",
						(json_int_t)layer->blob.size));
	}
	manifest = json_pack("{s:i, s:s, s:{s:s, s:s, s:I}, s:O}", "schemaVersion", 2, "mediaType",
			     MEDIA_OCI_MANIFEST, "config", "mediaType", MEDIA_OCI_CONFIG, "digest",
			     config->blob.digest, "size", (json_int_t)config->blob.size, "layers",
			     layers);
	r = blob_put_json(reading->task->root, manifest, MEDIA_OCI_MANIFEST, &document, err);
	if (r == 0 && !tags)
		r = add_image(reading, NULL, &document, err);
	STRV_EACH (tags, it)
		if (r == 0)
			r = add_image(reading, *it, &document, err);
	return r;
}

static int join(struct reading *reading, struct err *err)
{
	size_t i;
	json_t *item;
	int r = 0;

	if (reading->index)
		return join_index(reading, err);
	if (!json_is_array(reading->manifest))
		return err_set(
			err, -EBADMSG,
			"the archive is neither an OCI layout nor made by 'docker save': it has "
			"no index.json or manifest.json; to load a root file system use 'hull "
			"image import'");
	json_array_foreach (reading->manifest, i, item)
		if (r == 0)
			r = join_docker_image(reading, item, err);
	return r;
}

int archive_read_images(struct task *task, struct stream *stream, struct archive_images *ret_images,
			struct err *err)
{
	CLEANUP(archive_images_release) struct archive_images images = { 0 };
	CLEANUP(reading_release) struct reading reading = { .task = task, .images = &images };
	AUTO_STREAM struct stream *plain = stream_decompress_new(stream_borrow(stream));
	struct archive_entry *entry;
	int status;
	int r = 0;

	reading.stream = plain;
	reading.archive = archive_read_new();
	archive_read_support_format_tar(reading.archive);
	archive_read_support_format_empty(reading.archive);
	archive_read_set_options(reading.archive, "hdrcharset=BINARY");
	if (archive_read_open(reading.archive, &reading, NULL, read_stream, NULL) != ARCHIVE_OK)
		return archive_error(&reading, err);
	while (r == 0 &&
	       (status = archive_read_next_header(reading.archive, &entry)) != ARCHIVE_EOF) {
		if (status < ARCHIVE_WARN)
			return archive_error(&reading, err);
		r = take_entry(&reading, entry, err);
	}
	if (r == 0)
		r = join(&reading, err);
	if (r < 0)
		return r;
	*ret_images = images;
	images = (struct archive_images){ 0 };
	return 0;
}

int verb_load(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(archive_images_release) struct archive_images images = { 0 };
	AUTO_JSON json_t *references = json_array();
	AUTO_STREAM struct stream *stream = NULL;
	const char *name;
	AUTO_CLOSE int fd = task_input(task, &name, err);
	int r;

	if (fd < 0)
		return fd;
	stream = stream_fd_new(fd, name);
	r = archive_read_images(task, stream, &images, err);
	VEC_EACH (&images, it) {
		AUTO_FREE char *reference =
			it->reference
				? xstrdup(it->reference)
				: xasprintf("docker.io/library/untagged@%s", it->document.digest);

		if (r == 0)
			r = prepare_all(task, reference, it->document.digest, err);
		if (r == 0)
			r = task_set_reference(task, reference, &it->document, err);
		json_array_append_new(references, json_string(reference));
	}
	if (r < 0) {
		err_context(err, "cannot load %s", name);
		return r;
	}
	*ret_result = json_pack("{s:O}", "references", references);
	return 0;
}
