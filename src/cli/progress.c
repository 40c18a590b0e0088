/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/vec.h"

#define DRAW_INTERVAL_MS 80
#define PLAIN_INTERVAL_MS 2000
#define ID_COLUMNS 12
#define BAR_COLUMNS 30
#define ITEMS_MAX 256 /* ids come from elsewhere */

const char *const progress_mode_names[PROGRESS_MODE_COUNT + 1] = {
	[PROGRESS_AUTO] = "auto",
	[PROGRESS_NONE] = "none",
	[PROGRESS_PLAIN] = "plain",
	[PROGRESS_ANSI] = "ansi",
};

struct item {
	char *id, *text; /* owned */
	uint64_t current, total;
	uint64_t told_ms; /* plain: when last told */
};

struct progress {
	enum progress_mode mode;
	bool color;
	VEC(struct item) items; /* those not done yet */
	size_t lines_drawn;     /* ansi: of the items, above the cursor */
	uint64_t drawn_ms;
};

struct progress *progress_new(enum progress_mode mode, bool color)
{
	struct progress *progress = xcalloc(1, sizeof(*progress));

	if (mode == PROGRESS_AUTO)
		mode = isatty(STDERR_FILENO) ? PROGRESS_ANSI : PROGRESS_PLAIN;
	progress->mode = mode;
	progress->color = color;
	return progress;
}

static void item_release(struct item *item)
{
	free(item->id);
	free(item->text);
}

struct progress *progress_free(struct progress *progress)
{
	if (!progress)
		return NULL;
	VEC_EACH (&progress->items, it)
		item_release(it);
	VEC_FREE(&progress->items);
	free(progress);
	return NULL;
}

static void write_text(const struct sbuf *text)
{
	if (text->length)
		fd_write_all(STDERR_FILENO, text->text, text->length);
}

/* Digests are told by their first digits, as people know them. */
static char *short_id(const char *id)
{
	const char *hex = str_after(id, "sha256:");
	char *copy = hex ? xstrndup(hex, ID_COLUMNS) : xstrdup(id);

	err_sanitize(copy);
	return copy;
}

static void add_amount(struct sbuf *out, const struct item *item)
{
	AUTO_FREE char *current = str_size(item->current);

	if (item->total && item->current < item->total) {
		AUTO_FREE char *total = str_size(item->total);

		sbuf_addf(out, "%s / %s", current, total);
	} else if (item->current) {
		sbuf_add(out, current);
	}
}

/* --- plain --- */

static void plain_tell(struct progress *progress, struct item *item, bool done)
{
	AUTO_SBUF struct sbuf line = { 0 };

	sbuf_addf(&line, "%s: %s%s", item->id, item->text, done ? " done" : "");
	if (item->current) {
		sbuf_add(&line, ", ");
		add_amount(&line, item);
	}
	sbuf_add(&line, "\n");
	write_text(&line);
	item->told_ms = clock_monotonic_ms();
}

/* --- ansi --- */

static size_t terminal_size(size_t *ret_columns)
{
	struct winsize size = { 0 };

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col || !size.ws_row)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	*ret_columns = size.ws_col;
	return size.ws_row;
}

static void add_bar(struct sbuf *out, const struct item *item, bool color)
{
	uint64_t current = item->current < item->total ? item->current : item->total;
	int filled = (int)((double)current / (double)item->total * BAR_COLUMNS);

	sbuf_addf(out, "%s[", color ? "\033[36m" : "");
	for (int i = 0; i < BAR_COLUMNS; i++)
		sbuf_add(out, i < filled ? "=" : i == filled ? ">" : " ");
	sbuf_addf(out, "]%s ", color ? "\033[0m" : "");
}

static void ansi_add_item(struct sbuf *out, const struct item *item, bool color, size_t columns)
{
	AUTO_FREE char *label = xasprintf("%-*s  %-12s", ID_COLUMNS, item->id, item->text);
	size_t room = columns > 1 ? columns - 1 : 1;

	sbuf_addf(out, "%.*s ", (int)room, label);
	/* A line that wraps would be counted wrong: leave out what does not fit. */
	if (item->total && item->current < item->total && strlen(label) + BAR_COLUMNS + 30 < room)
		add_bar(out, item, color);
	if (strlen(label) + 30 < room)
		add_amount(out, item);
	sbuf_add(out, "\033[K\n");
}

static void ansi_rewind(const struct progress *progress, struct sbuf *out)
{
	if (progress->lines_drawn)
		sbuf_addf(out, "\r\033[%zuA", progress->lines_drawn);
}

/* Draws the items anew over what was drawn; above them, what has just been done, to stay. */
static void ansi_draw(struct progress *progress, const struct item *done, bool force)
{
	AUTO_SBUF struct sbuf out = { 0 };
	uint64_t now = clock_monotonic_ms();
	size_t columns;
	size_t rows;

	if (!force && now - progress->drawn_ms < DRAW_INTERVAL_MS)
		return;
	rows = terminal_size(&columns);
	ansi_rewind(progress, &out);
	if (done)
		ansi_add_item(&out, done, progress->color, columns);
	progress->lines_drawn = 0;
	VEC_EACH (&progress->items, it) {
		if (progress->lines_drawn + 2 >= rows)
			break;
		ansi_add_item(&out, it, progress->color, columns);
		progress->lines_drawn++;
	}
	sbuf_add(&out, "\033[J");
	write_text(&out);
	progress->drawn_ms = now;
}

/* --- what the engine tells --- */

static struct item *find_item(struct progress *progress, const char *id)
{
	AUTO_FREE char *key = short_id(id);
	struct item item = { 0 };

	VEC_EACH (&progress->items, it)
		if (str_eq(it->id, key))
			return it;
	if (progress->items.count == ITEMS_MAX)
		return NULL;
	item.id = TAKE_PTR(key);
	VEC_PUSH(&progress->items, item);
	return &progress->items.items[progress->items.count - 1];
}

static void on_progress(void *ctx, const char *id, const char *text, uint64_t current,
			uint64_t total)
{
	struct progress *progress = ctx;
	bool done = total && current >= total;
	struct item *item;
	bool changed;

	if (progress->mode == PROGRESS_NONE)
		return;
	item = find_item(progress, id);
	if (!item)
		return;
	changed = !str_eq(item->text, text);
	if (changed) {
		free(item->text);
		item->text = xstrdup(text);
		err_sanitize(item->text);
	}
	item->current = current;
	item->total = total;
	if (progress->mode == PROGRESS_PLAIN &&
	    (changed || done || clock_monotonic_ms() - item->told_ms > PLAIN_INTERVAL_MS))
		plain_tell(progress, item, done);
	if (done) {
		struct item finished = *item;

		VEC_REMOVE(&progress->items, (size_t)(item - progress->items.items));
		if (progress->mode == PROGRESS_ANSI)
			ansi_draw(progress, &finished, true);
		item_release(&finished);
	} else if (progress->mode == PROGRESS_ANSI) {
		ansi_draw(progress, NULL, changed);
	}
}

/* A line of its own above the items. */
static void tell_line(struct progress *progress, const char *prefix, const char *text,
		      const char *suffix)
{
	AUTO_SBUF struct sbuf out = { 0 };
	AUTO_FREE char *clean = xstrdup(text);

	err_sanitize(clean);
	ansi_rewind(progress, &out);
	sbuf_addf(&out, "%s%s%s%s\n", prefix, clean, suffix,
		  progress->mode == PROGRESS_ANSI ? "\033[K" : "");
	write_text(&out);
	progress->lines_drawn = 0;
	if (progress->mode == PROGRESS_ANSI && progress->items.count)
		ansi_draw(progress, NULL, true);
}

static void on_step(void *ctx, const char *text)
{
	struct progress *progress = ctx;

	if (progress->mode != PROGRESS_NONE)
		tell_line(progress, "", text, " ...");
}

/* The terminal may be raw by now. */
static void on_note(void *ctx, const char *text)
{
	fprintf(stderr, "%s%s\n", text, isatty(STDERR_FILENO) ? "\r" : "");
}

static void on_warning(void *ctx, const char *text)
{
	tell_line(ctx, "Warning: ", text, "");
}

struct engine_ui progress_ui(struct progress *progress)
{
	return (struct engine_ui){
		.progress = on_progress,
		.step = on_step,
		.warning = on_warning,
		.note = on_note,
		.ctx = progress,
	};
}

void progress_finish(struct progress *progress)
{
	if (!progress)
		return;
	if (progress->mode == PROGRESS_ANSI && progress->items.count)
		ansi_draw(progress, NULL, true);
	VEC_EACH (&progress->items, it)
		item_release(it);
	VEC_FREE(&progress->items);
	progress->lines_drawn = 0;
}
