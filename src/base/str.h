/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: a growing buffer, NULL-terminated string vectors, and checked parsing of numbers. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

/* A growing string. Zero-initialised is empty; `text` is NULL until something was added. */
struct sbuf {
	char *text; /* owned; NUL-terminated */
	size_t length;
	size_t capacity;
};

void sbuf_add(struct sbuf *buf, const char *text);
void sbuf_add_bytes(struct sbuf *buf, const void *data, size_t size);
void sbuf_addf(struct sbuf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sbuf_release(struct sbuf *buf);
/* The text ("" if empty), now owned by the caller; buf is empty again. */
char *sbuf_take(struct sbuf *buf);
#define AUTO_SBUF CLEANUP(sbuf_release)

/* Vectors of strings: NULL-terminated arrays like argv; NULL counts as empty. */
size_t strv_count(char *const *strv);
/* Appends a copy of text. */
void strv_push(char ***strv, const char *text);
char **strv_copy(char *const *strv);
char **strv_free(char **strv);
bool strv_contains(char *const *strv, const char *text);
static inline void strv_freep(char ***strv)
{
	strv_free(*strv);
}
#define AUTO_STRV CLEANUP(strv_freep)
#define STRV_EACH(strv, it) for (char *const *it = (strv); it && *it; it++)
/* Splits at each separator character; empty fields are kept; max_fields 0 means no limit, otherwise
 * the last field holds the rest. */
char **str_split(const char *text, char separator, size_t max_fields);

static inline const char *str_or(const char *text, const char *fallback)
{
	return text ? text : fallback;
}
bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
/* The rest of text after prefix, or NULL if it does not start with it. */
const char *str_after(const char *text, const char *prefix);

/* Decimal numbers without sign, space or rest. Return 0, -EINVAL or -ERANGE. */
int str_parse_u64(const char *text, uint64_t *ret_value);
int str_parse_u32(const char *text, uint32_t *ret_value);
/* A decimal number with at most two digits behind a point, in hundredths: "1.5" is 150. */
int str_parse_hundredths(const char *text, uint32_t *ret_value);
/* Octal of the same kind. */
int str_parse_octal(const char *text, uint32_t *ret_value);
/* A signed decimal. */
int str_parse_i64(const char *text, int64_t *ret_value);
/* A size in bytes: digits (a fraction is allowed with a suffix), then K M G T P, binary, optional
 * "b" or "ib", case-insensitive. */
int str_parse_size(const char *text, uint64_t *ret_bytes);
/* A duration in milliseconds: "1.5s", "300ms", "2m", "1h30m", bare digits are seconds. */
int str_parse_duration_ms(const char *text, uint64_t *ret_ms);

/* "12.3 MB"-like text of a number of bytes in binary units ("1.00 GiB"). Owned by the caller. */
char *str_size(uint64_t bytes);
/* RFC 3339 UTC, seconds ("2026-01-02T03:04:05Z"), of a Unix time. Owned by the caller. */
char *str_time(int64_t unix_seconds);

/* Levenshtein distance, for hints; inputs longer than 63 characters count as far away. */
size_t str_distance(const char *a, const char *b);

#endif
