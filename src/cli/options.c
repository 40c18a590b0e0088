/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/hint.h"

#define COMMON_OPTIONS                                                    \
	OPT_FLAG("debug", 0, struct common_options, debug,                \
		 "tell what happens and when, on standard error"),        \
		OPT_STRING("root", 0, "DIR", struct common_options, root, \
			   "keep all state in DIR instead of $HULL_ROOT", \
			   .complete = COMPLETE_FILES),                   \
		OPT_FLAG("help", 'h', struct common_options, help, "show this help")

const struct option_spec common_options[] = { COMMON_OPTIONS, OPT_END };

const struct option_spec root_options[] = {
	COMMON_OPTIONS,
	OPT_FLAG("version", 0, struct common_options, version, "show the version"),
	OPT_END,
};

static const struct option_spec *common_of(const struct command *command)
{
	return command == &command_root ? root_options : common_options;
}

/* An option and where its value goes. */
struct target {
	const struct option_spec *spec;
	void *value;
};

/* The tables in the form getopt_long wants. Long option n of the targets is told by LONG_BASE + n.
 */
#define LONG_BASE 256
struct parser {
	VEC(struct target) targets;
	VEC(struct option) longs; /* val is the target's number; the aliases are in it too */
	struct sbuf letters;
};

static void parser_add(struct parser *parser, const struct option_spec *specs, void *values)
{
	for (const struct option_spec *it = specs; it && it->name; it++) {
		struct option option = {
			.name = it->name,
			.has_arg = it->type == OPTION_FLAG ? no_argument : required_argument,
			.val = LONG_BASE + (int)parser->targets.count,
		};
		struct target target = { it, (char *)values + it->offset };

		VEC_PUSH(&parser->targets, target);
		VEC_PUSH(&parser->longs, option);
		if (it->alias) {
			option.name = it->alias;
			VEC_PUSH(&parser->longs, option);
		}
		if (it->letter)
			sbuf_addf(&parser->letters, "%c%s", it->letter,
				  it->type == OPTION_FLAG ? "" : ":");
	}
}

static void parser_init(struct parser *parser, const struct command *command, void *values,
			struct common_options *common)
{
	const struct option end = { 0 };

	sbuf_add(&parser->letters, command->options_first ? "+:" : ":");
	for (const struct option_group *it = command->groups; it && it->options; it++)
		parser_add(parser, it->options, (char *)values + it->base);
	parser_add(parser, common_of(command), common);
	VEC_PUSH(&parser->longs, end);
}

static void parser_release(struct parser *parser)
{
	VEC_FREE(&parser->targets);
	VEC_FREE(&parser->longs);
	sbuf_release(&parser->letters);
}

static const struct target *parser_target(const struct parser *parser, int found)
{
	if (found >= LONG_BASE)
		return &parser->targets.items[found - LONG_BASE];
	VEC_EACH (&parser->targets, it)
		if (it->spec->letter == found)
			return it;
	return NULL;
}

static const char *parser_hint(const struct parser *parser, const char *name)
{
	struct hint hint = hint_begin(name);

	VEC_EACH (&parser->longs, it)
		if (it->name)
			hint_try(&hint, it->name);
	return hint.best;
}

/* getopt_long found a long option that is none (or that begins several). */
static int unknown_long(const struct parser *parser, const char *word, struct err *err)
{
	AUTO_FREE char *name = xstrndup(word + 2, strcspn(word + 2, "="));
	const char *hint = parser_hint(parser, name);
	size_t matches = 0;

	VEC_EACH (&parser->longs, it)
		matches += it->name && str_starts(it->name, name);
	if (matches > 1)
		return err_set(err, -EINVAL, "option '--%s' is ambiguous", name);
	if (hint)
		return err_set(err, -EINVAL, "unknown option '--%s'; did you mean '--%s'?", name,
			       hint);
	return err_set(err, -EINVAL, "unknown option '--%s'", name);
}

static int bad_option(const struct parser *parser, int found, int option, const char *word,
		      struct err *err)
{
	const struct target *target = option ? parser_target(parser, option) : NULL;

	if (!option)
		return unknown_long(parser, word, err);
	if (!target)
		return err_set(err, -EINVAL, "unknown option '-%c'", option);
	if (found == ':')
		return err_set(err, -EINVAL, "option '--%s' needs a value", target->spec->name);
	return err_set(err, -EINVAL, "option '--%s' takes no value", target->spec->name);
}

static int set_choice(const struct target *target, const char *text, struct err *err)
{
	AUTO_SBUF struct sbuf known = { 0 };

	for (int i = 0; target->spec->choices[i]; i++) {
		if (str_eq(target->spec->choices[i], text)) {
			*(int *)target->value = i;
			return 0;
		}
		sbuf_addf(&known, "%s%s", i ? ", " : "", target->spec->choices[i]);
	}
	return err_set(err, -EINVAL, "invalid value '%s' for '--%s': it is one of %s", text,
		       target->spec->name, known.text);
}

static int parse_number(const struct option_spec *spec, const char *text, uint64_t *ret_number,
			struct err *err)
{
	uint32_t number = 0;
	int r;

	if (spec->type == OPTION_SIZE)
		return str_parse_size(text, ret_number) < 0
			       ? err_set(err, -EINVAL,
					 "invalid size '%s' for '--%s': it is like 512m or 2g",
					 text, spec->name)
			       : 0;
	r = spec->type == OPTION_HUNDREDTHS ? str_parse_hundredths(text, &number)
					    : str_parse_u32(text, &number);
	*ret_number = number;
	return r < 0 ? err_set(err, -EINVAL, "invalid number '%s' for '--%s'", text, spec->name)
		     : 0;
}

static int set_number(const struct target *target, const char *text, struct err *err)
{
	const struct option_spec *spec = target->spec;
	uint64_t number = 0;
	int r = parse_number(spec, text, &number, err);

	if (r < 0)
		return r;
	if (number < spec->minimum && spec->type == OPTION_SIZE && number == 0)
		return err_set(err, -EINVAL, "'--%s' is more than 0", spec->name);
	if (number < spec->minimum)
		return spec->type == OPTION_HUNDREDTHS
			       ? err_set(err, -EINVAL, "'--%s' is at least %.2f", spec->name,
					 (double)spec->minimum / 100)
			       : err_set(err, -EINVAL, "'--%s' is at least %llu", spec->name,
					 (unsigned long long)spec->minimum);
	if (spec->type == OPTION_SIZE)
		*(uint64_t *)target->value = number;
	else
		*(uint32_t *)target->value = (uint32_t)number;
	return 0;
}

static int set_value(const struct target *target, const char *text, struct err *err)
{
	switch (target->spec->type) {
	case OPTION_FLAG:
		*(bool *)target->value = true;
		return 0;
	case OPTION_STRING:
		*(const char **)target->value = text;
		return 0;
	case OPTION_LIST:
		strv_push((char ***)target->value, text);
		return 0;
	case OPTION_CHOICE:
		return set_choice(target, text, err);
	case OPTION_SIZE:
	case OPTION_U32:
	case OPTION_HUNDREDTHS:
	case OPTION_TYPE_COUNT:
		break;
	}
	return set_number(target, text, err);
}

int options_parse(const struct command *command, int argc, char **argv, void *values,
		  struct common_options *common, int *ret_first, struct err *err)
{
	CLEANUP(parser_release) struct parser parser = { 0 };
	struct err first_error = { 0 };
	int found;

	parser_init(&parser, command, values, common);
	opterr = 0;
	optind = 0; /* a GNU promise: begin anew */
	while ((found = getopt_long(argc, argv, parser.letters.text, parser.longs.items, NULL)) !=
	       -1) {
		struct err error = { 0 };
		int r;

		if (found == '?' || found == ':')
			r = bad_option(&parser, found, optopt, argv[optind - 1], &error);
		else
			r = set_value(parser_target(&parser, found), optarg, &error);
		if (r < 0 && first_error.code == 0)
			first_error = error;
	}
	if (first_error.code < 0 && !common->help)
		return err_set(err, first_error.code, "%s", first_error.message);
	*ret_first = optind;
	return 0;
}

void options_init(const struct command *command, void *values)
{
	for (const struct option_group *group = command->groups; group && group->options; group++) {
		for (const struct option_spec *it = group->options; it->name; it++) {
			void *value = (char *)values + group->base + it->offset;

			if (it->type == OPTION_SIZE)
				*(uint64_t *)value = it->initial;
			else if (it->type == OPTION_U32 || it->type == OPTION_HUNDREDTHS)
				*(uint32_t *)value = (uint32_t)it->initial;
			else if (it->type == OPTION_CHOICE)
				*(int *)value = (int)it->initial;
		}
	}
}

void options_release(const struct command *command, void *values)
{
	for (const struct option_group *group = command->groups; group && group->options; group++)
		for (const struct option_spec *it = group->options; it->name; it++)
			if (it->type == OPTION_LIST)
				strv_free(*(char ***)((char *)values + group->base + it->offset));
}

static bool is_given(const struct option_spec *spec, const void *value)
{
	switch (spec->type) {
	case OPTION_FLAG:
		return *(const bool *)value;
	case OPTION_STRING:
		return *(const char *const *)value;
	case OPTION_LIST:
		return *(char **const *)value;
	case OPTION_SIZE:
		return *(const uint64_t *)value != spec->initial;
	case OPTION_U32:
	case OPTION_HUNDREDTHS:
		return *(const uint32_t *)value != spec->initial;
	case OPTION_CHOICE:
		return (uint64_t) * (const int *)value != spec->initial;
	case OPTION_TYPE_COUNT:
		break;
	}
	return false;
}

const struct option_spec *options_first_colder(const struct command *command, const void *values,
					       enum option_warmth least)
{
	for (const struct option_group *group = command->groups; group && group->options; group++)
		for (const struct option_spec *it = group->options; it->name; it++)
			if (it->warmth < least &&
			    is_given(it, (const char *)values + group->base + it->offset))
				return it;
	return NULL;
}

static const struct option_spec *find_in(const struct option_spec *specs, const char *word)
{
	const char *name = str_after(word, "--");
	size_t length = name ? strcspn(name, "=") : 0;

	for (const struct option_spec *it = specs; it->name; it++) {
		if (!name && word[0] == '-' && it->letter && word[1] == it->letter && !word[2])
			return it;
		if (name && strlen(it->name) == length && strncmp(it->name, name, length) == 0)
			return it;
		if (name && it->alias && strlen(it->alias) == length &&
		    strncmp(it->alias, name, length) == 0)
			return it;
	}
	return NULL;
}

const struct option_spec *options_find(const struct command *command, const char *word)
{
	const struct option_spec *spec = NULL;

	for (const struct option_group *it = command->groups; it && it->options && !spec; it++)
		spec = find_in(it->options, word);
	return spec ? spec : find_in(common_of(command), word);
}
