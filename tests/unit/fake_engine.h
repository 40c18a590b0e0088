/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that does nothing but remember: what it was asked for is a line each in `calls`, and
 * what it answers is set by the test.
 */
#ifndef TESTS_UNIT_FAKE_ENGINE_H
#define TESTS_UNIT_FAKE_ENGINE_H

#include "base/str.h"
#include "engine/engine.h"
#include "engine/volume.h"

struct fake_engine {
	struct sbuf calls;              /* "stop web TERM 5\n" … */
	json_t *created;                /* the configuration of the last create; owned */
	int start_result, start_status; /* of start, attach and exec */
	bool progress;                  /* pulls tell of progress */
	/* Containers that are there: "web" runs, "db" is stopped, all others are not found. Images:
	 * "docker.io/library/alpine:latest". */
};

extern struct fake_engine fake;
void fake_reset(void);

#endif
