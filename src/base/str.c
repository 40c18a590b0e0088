/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

static void sbuf_reserve(struct sbuf *buf, size_t extra)
{
	size_t need = buf->length + extra + 1;

	if (need <= buf->capacity)
		return;
	buf->capacity = need < 64 ? 64 : need + need / 2;
	buf->text = xrealloc(buf->text, buf->capacity, 1);
}

void sbuf_add_bytes(struct sbuf *buf, const void *data, size_t size)
{
	sbuf_reserve(buf, size);
	if (size)
		memcpy(buf->text + buf->length, data, size);
	buf->length += size;
	buf->text[buf->length] = '\0';
}

void sbuf_add(struct sbuf *buf, const char *text)
{
	sbuf_add_bytes(buf, text, strlen(text));
}

void sbuf_addf(struct sbuf *buf, const char *format, ...)
{
	va_list args;
	va_list again;
	int n;

	va_start(args, format);
	va_copy(again, args);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n >= 0) {
		sbuf_reserve(buf, (size_t)n);
		vsnprintf(buf->text + buf->length, (size_t)n + 1, format, again);
		buf->length += (size_t)n;
	}
	va_end(again);
}

void sbuf_release(struct sbuf *buf)
{
	free(buf->text);
	*buf = (struct sbuf){ 0 };
}

char *sbuf_take(struct sbuf *buf)
{
	char *text = buf->text ? buf->text : xstrdup("");

	*buf = (struct sbuf){ 0 };
	return text;
}

size_t strv_count(char *const *strv)
{
	size_t n = 0;

	while (strv && strv[n])
		n++;
	return n;
}

void strv_push(char ***strv, const char *text)
{
	size_t n = strv_count(*strv);

	*strv = xrealloc(*strv, n + 2, sizeof(char *));
	(*strv)[n] = xstrdup(text);
	(*strv)[n + 1] = NULL;
}

char **strv_copy(char *const *strv)
{
	size_t n = strv_count(strv);
	char **copy = xcalloc(n + 1, sizeof(char *));

	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(strv[i]);
	return copy;
}

char **strv_free(char **strv)
{
	for (char **s = strv; s && *s; s++)
		free(*s);
	free(strv);
	return NULL;
}

bool strv_contains(char *const *strv, const char *text)
{
	STRV_EACH (strv, it)
		if (strcmp(*it, text) == 0)
			return true;
	return false;
}

char **str_split(const char *text, char separator, size_t max_fields)
{
	char **fields = NULL;

	for (size_t n = 1;; n++) {
		const char *end = n == max_fields ? NULL : strchr(text, separator);
		AUTO_FREE char *field = end ? xstrndup(text, (size_t)(end - text)) : xstrdup(text);

		strv_push(&fields, field);
		if (!end)
			return fields;
		text = end + 1;
	}
}

bool str_eq(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

const char *str_after(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

bool str_starts(const char *text, const char *prefix)
{
	return str_after(text, prefix) != NULL;
}

bool str_ends(const char *text, const char *suffix)
{
	size_t n = strlen(text);
	size_t s = strlen(suffix);

	return n >= s && strcmp(text + n - s, suffix) == 0;
}

static int parse_base(const char *text, unsigned base, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (!text || !*text)
		return -EINVAL;
	for (; *text; text++) {
		unsigned digit = (unsigned)(*text - '0');

		if (*text < '0' || digit >= base)
			return -EINVAL;
		if (__builtin_mul_overflow(value, base, &value) ||
		    __builtin_add_overflow(value, digit, &value))
			return -ERANGE;
	}
	*ret_value = value;
	return 0;
}

int str_parse_u64(const char *text, uint64_t *ret_value)
{
	return parse_base(text, 10, ret_value);
}

static int narrow_u32(int r, uint64_t value, uint32_t *ret_value)
{
	if (r < 0)
		return r;
	if (value > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t)value;
	return 0;
}

int str_parse_u32(const char *text, uint32_t *ret_value)
{
	uint64_t value = 0;
	int r = parse_base(text, 10, &value);

	return narrow_u32(r, value, ret_value);
}

int str_parse_hundredths(const char *text, uint32_t *ret_value)
{
	size_t whole = text ? strcspn(text, ".") : 0;
	const char *fraction = text && text[whole] ? text + whole + 1 : "";
	size_t digits = strlen(fraction);
	AUTO_FREE char *joined = NULL;

	if (!text || !*text || digits > 2 || (text[whole] && !digits))
		return -EINVAL;
	joined = xasprintf("%.*s%s%.*s", (int)whole, text, fraction, (int)(2 - digits), "00");
	return str_parse_u32(joined, ret_value);
}

int str_parse_octal(const char *text, uint32_t *ret_value)
{
	uint64_t value = 0;
	int r = parse_base(text, 8, &value);

	return narrow_u32(r, value, ret_value);
}

int str_parse_i64(const char *text, int64_t *ret_value)
{
	bool negative = text && *text == '-';
	uint64_t value = 0;
	int r = parse_base(negative ? text + 1 : text, 10, &value);

	if (r < 0)
		return r;
	if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
		return -ERANGE;
	*ret_value = negative ? (int64_t)(0 - value) : (int64_t)value;
	return 0;
}

/* Splits "12.5rest" into a number of thousandths and the rest. */
static int parse_milli(const char *text, uint64_t *ret_milli, const char **ret_rest, bool *ret_frac)
{
	uint64_t milli = 0;
	unsigned scale = 100;
	const char *c = text;

	*ret_frac = false;
	if (!c || !isdigit((unsigned char)*c))
		return -EINVAL;
	for (; isdigit((unsigned char)*c); c++)
		if (__builtin_mul_overflow(milli, 10, &milli) ||
		    __builtin_add_overflow(milli, (uint64_t)(*c - '0'), &milli))
			return -ERANGE;
	if (__builtin_mul_overflow(milli, 1000, &milli))
		return -ERANGE;
	if (*c == '.') {
		if (!isdigit((unsigned char)*++c))
			return -EINVAL;
		*ret_frac = true;
		for (; isdigit((unsigned char)*c); c++, scale /= 10)
			milli += (uint64_t)scale * (unsigned)(*c - '0');
	}
	*ret_milli = milli;
	*ret_rest = c;
	return 0;
}

int str_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const char units[] = "KMGTP";
	const char *rest = NULL;
	const char *unit;
	unsigned shift = 0;
	uint64_t milli = 0;
	bool fraction;
	int r = parse_milli(text, &milli, &rest, &fraction);

	if (r < 0)
		return r;
	unit = *rest ? strchr(units, toupper((unsigned char)*rest)) : NULL;
	if (unit) {
		shift = 10 * (unsigned)(unit - units + 1);
		rest++;
	}
	if (strcasecmp(rest, "") != 0 && strcasecmp(rest, "b") != 0 &&
	    !(unit && strcasecmp(rest, "ib") == 0))
		return -EINVAL;
	if (fraction && !unit)
		return -EINVAL;
	__extension__ unsigned __int128 bytes = (unsigned __int128)milli << shift;
	bytes /= 1000;
	if (bytes > UINT64_MAX)
		return -ERANGE;
	*ret_bytes = (uint64_t)bytes;
	return 0;
}

int str_parse_duration_ms(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "", 1000 }, { "s", 1000 }, { "ms", 1 }, { "m", 60000 }, { "h", 3600000 } };
	const char *rest = text;
	uint64_t total = 0;

	do {
		uint64_t milli = 0;
		uint64_t product;
		bool fraction;
		bool first = rest == text;
		int r = parse_milli(rest, &milli, &rest, &fraction);
		size_t length;
		size_t i = 0;

		if (r < 0)
			return r;
		length = strcspn(rest, "0123456789");
		while (i < ARRAY_SIZE(units) && (strlen(units[i].unit) != length ||
						 strncmp(rest, units[i].unit, length) != 0))
			i++;
		if (i == ARRAY_SIZE(units) || (!first && length == 0))
			return -EINVAL;
		if (__builtin_mul_overflow(milli, units[i].ms, &product) ||
		    __builtin_add_overflow(total, product / 1000, &total))
			return -ERANGE;
		rest += length;
	} while (*rest);
	*ret_ms = total;
	return 0;
}

char *str_size(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t i = 0;

	for (; value >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		value /= 1024;
	return i ? xasprintf("%.2f %s", value, units[i]) : xasprintf("%.0f B", value);
}

char *str_time(int64_t unix_seconds)
{
	char text[40];
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return xstrdup("");
	return xstrdup(text);
}

size_t str_distance(const char *a, const char *b)
{
	size_t n = strlen(a);
	size_t m = strlen(b);
	size_t row[64];

	if (n >= ARRAY_SIZE(row) || m >= ARRAY_SIZE(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[m];
}
