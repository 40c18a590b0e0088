/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heavy half of images, run as the program hull-image: everything that talks to registries,
 *reads archives, decompresses and converts happens in that process, which holds nothing of value
 *and can be confined, and a command that needs none of it does not pay for linking it (10 ms). One
 *request per process.
 *
 * The request is a JSON object on descriptor 3 (a socket); answers are JSON objects, one a line:
 *	{"progress": {"id": "<layer or step>", "text": "pulling", "current": N, "total": N?}}
 *	{"warning": "…"}
 *	{"result": {...}} or {"error": {"code": -errno, "message": "…"}}	the last line
 * Closing the socket cancels the request. Requests are {"verb": …, "root": …} and:
 *	pull	reference, platform?, all_platforms?, scheme?, concurrency?, insecure[]?, mirrors[]?
 *(of docker.io: [scheme://]host), config_dir? (~/.docker), certs_dir? (<host>/ *.crt below it),
 *		credentials{username, password}?, dns_domain?, attempts?, stall_ms?
 *		→ {reference, digest}
 *	push	reference, and as of pull, but for mirrors and all_platforms → {reference, digest}
 *	login	reference (of any image of the registry), credentials, and as of pull → {}
 *	keep-login	host, credentials, config_dir → {}
 *	drop-login	host, config_dir → {}
 *	list-logins	config_dir → {logins[{hostname, username?, created?, modified?}]}
 *	load	path? (else stdin)	→ {references[]}
 *	save	references[], platform?, path? (else stdout) → {references[]}
 *	import	path? (else stdin), reference, changes[]?, platform? → {reference, digest}
 *	import-builtin	busybox (path), reference → {reference, digest}
 *	commit	(layer on stdin) base (digest of a manifest), base_name, platform, reference,
 *process {command[], env[], working_directory, user?}, labels, changes[]?, author?, message? →
 *{reference, digest}
 *	expand	an archive from stdin to stdout, decompressed if it has to be → {}
 *	prepare	reference or digest, platform?: makes the image's disk from blobs that are here →
 *{disk_key} prune	all?: deletes content, layers and disks that no row of images or containers
 *needs; with all, first the rows of images that no container uses → {deleted[], reclaimed}
 *
 * References are normalised (image_ref_text). pull, load and the imports set the rows of images
 * themselves, and leave a disk that is ready; they and prepare hold the content lock (content_hold)
 *while they work. A caller that goes on to write a row of its own, a container's, holds it around
 *both.
 */
#ifndef IMAGE_WORKER_H
#define IMAGE_WORKER_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

struct image_worker_ops {
	/* total is 0 when unknown; current == total: this id is done. */
	void (*progress)(void *ctx, const char *id, const char *text, uint64_t current,
			 uint64_t total);
	void (*warning)(void *ctx, const char *text);
};

/* Runs program (path of hull-image) with the request (borrowed) to its end; SIGINT and SIGTERM of
 * the caller are left to the caller's handlers, the worker ends when the caller does. *ret_result
 * is a new reference. Returns 0 or the worker's error; -EIO when it died. */
int image_worker_run(const char *program, const json_t *request, const struct image_worker_ops *ops,
		     void *ctx, json_t **ret_result, struct err *err);

#endif
