/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of worker.h, each carried out by its file. *ret_result is a new reference. The task
 * holds the content against prune (prune itself excepted). */
#ifndef IMAGE_VERBS_H
#define IMAGE_VERBS_H

#include "image/content.h"
#include "image/manifest.h"
#include "image/ref.h"
#include "image/stream.h"
#include "image/task.h"

int verb_pull(struct task *task, json_t **ret_result, struct err *err);
int verb_push(struct task *task, json_t **ret_result, struct err *err);
int verb_login(struct task *task, json_t **ret_result, struct err *err);
int verb_keep_login(struct task *task, json_t **ret_result, struct err *err);
int verb_drop_login(struct task *task, json_t **ret_result, struct err *err);
int verb_list_logins(struct task *task, json_t **ret_result, struct err *err);
int verb_load(struct task *task, json_t **ret_result, struct err *err);
int verb_save(struct task *task, json_t **ret_result, struct err *err);
int verb_import(struct task *task, json_t **ret_result, struct err *err);
int verb_import_builtin(struct task *task, json_t **ret_result, struct err *err);
int verb_import_snapshot(struct task *task, json_t **ret_result, struct err *err);
int verb_prepare(struct task *task, json_t **ret_result, struct err *err);
int verb_commit(struct task *task, json_t **ret_result, struct err *err);
int verb_expand(struct task *task, json_t **ret_result, struct err *err);
int verb_prune(struct task *task, json_t **ret_result, struct err *err);

/* What several verbs share. */

/* The request's "platform", or the host's. */
int task_platform(const struct task *task, struct platform *ret_platform, struct err *err);
/* The number of layers to work on at once: "concurrency", 3 if absent. */
size_t task_concurrency(const struct task *task);
/* A required string of the request. */
int task_string(const struct task *task, const char *name, const char **ret_text, struct err *err);
/* The normalised form of the request's "reference", which must have no digest. Owned. */
int task_reference(const struct task *task, char **ret_text, struct err *err);
/* Stores the tar (owned by this call) as a blob while it is converted to a layer. */
int layer_import(struct task *task, struct stream *source, struct descriptor *ret_layer,
		 char **ret_diff_id, struct err *err);
/* The request's "path" opened for reading, or stdin ("-" too). A descriptor. */
int task_input(const struct task *task, const char **ret_name, struct err *err);
/* Points the store's row of the reference at the document. */
int task_set_reference(struct task *task, const char *reference, const struct descriptor *document,
		       struct err *err);
/* Makes missing layers, and the disk, of the image of a document that is here. */
int prepare_image(struct task *task, const char *name, const char *digest,
		  const struct platform *platform, char **ret_key, struct err *err);
/* As prepare_image, for every platform of the document whose blobs are here. */
int prepare_all(struct task *task, const char *name, const char *digest, struct err *err);
/* Applies a Dockerfile-like instruction ("CMD [\"sh\"]") to a "config" object. -EINVAL. */
int change_apply(json_t *config, const char *change, struct err *err);

#endif
