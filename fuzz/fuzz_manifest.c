/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of registries and archives: manifests, indexes, configs, and challenges. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "image/auth.h"
#include "image/manifest.h"
#include "image/verbs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_FREE char *text = xstrndup((const char *)data, size);
	CLEANUP(manifest_release) struct manifest manifest = { 0 };
	CLEANUP(challenge_release) struct challenge challenge = { 0 };
	AUTO_JSON json_t *json = NULL;
	AUTO_JSON json_t *config = json_object();
	AUTO_STRV char **diff_ids = NULL;
	struct platform platform;
	struct err err = { 0 };

	challenge_parse(text, &challenge, &err);
	change_apply(config, text, &err);
	if (json_parse((const char *)data, size, "input", &json, &err) < 0)
		return 0;
	if (manifest_parse(json, NULL, &manifest, &err) == 0) {
		free(manifest_platforms_text(&manifest));
		VEC_EACH (&manifest.layers, it)
			if (!content_digest_valid(it->digest))
				abort();
		if (manifest.layers.count > MANIFEST_LAYERS_MAX)
			abort();
	}
	if (image_config_parse(json, 1, &platform, &diff_ids, &err) == 0) {
		free(disk_key_of(diff_ids));
		if (strv_count(diff_ids) != 1 || !content_digest_valid(diff_ids[0]))
			abort();
	}
	return 0;
}
