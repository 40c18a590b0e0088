/* SPDX-License-Identifier: Apache-2.0 */
/* An image that is another one, whose containers start from a snapshot: its manifest, and what it
 * names. The snapshot itself stays with the engine. */
#include "base/json.h"
#include "image/blobs.h"
#include "image/verbs.h"

int verb_import_snapshot(struct task *task, json_t **ret_result, struct err *err)
{
	CLEANUP(descriptor_release) struct descriptor document = { 0 };
	CLEANUP(manifest_release) struct manifest parsed = { 0 };
	AUTO_FREE char *reference = NULL;
	AUTO_JSON json_t *manifest = NULL;
	json_t *annotations;
	const char *base = NULL;
	const char *snapshot = NULL;
	int r = task_reference(task, &reference, err);

	if (r == 0)
		r = task_string(task, "base", &base, err);
	if (r == 0)
		r = task_string(task, "snapshot", &snapshot, err);
	if (r == 0)
		r = content_read_json(task->root, base, &manifest, err);
	if (r == 0)
		r = manifest_parse(manifest, NULL, &parsed, err);
	if (r < 0)
		return r;
	annotations = json_get_object(manifest, "annotations");
	if (!annotations) {
		annotations = json_object();
		json_object_set_new(manifest, "annotations", annotations);
	}
	json_set_string(annotations, MANIFEST_SNAPSHOT, snapshot);
	r = blob_put_json(task->root, manifest, parsed.media_type, &document, err);
	if (r == 0)
		r = task_set_reference(task, reference, &document, err);
	if (r == 0)
		*ret_result =
			json_pack("{s:s, s:s}", "reference", reference, "digest", document.digest);
	return r;
}
