/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: a command is data. Each cmd_<verb>.c ends in one const `struct command`,
 * which names its options; options.c parses by that table, help.c renders it, cmd_complete.c
 * completes from it, and the unit tests hold the man pages against it. There is no other list of
 * options.
 *
 * Options are written into a struct of the command's own (zeroed, then each option's `initial`), at
 * the offsets the table tells; the OPT_* macros check at compile time that member and type agree.
 * Options that several commands have are groups: a table of their own plus the offset of its
 * struct.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct cli;

enum option_type {
	OPTION_FLAG,       /* bool */
	OPTION_STRING,     /* const char *, borrowed from argv; NULL when not given */
	OPTION_LIST,       /* char **, owned by the options struct: one per occurrence */
	OPTION_SIZE,       /* uint64_t, bytes */
	OPTION_U32,        /* uint32_t */
	OPTION_HUNDREDTHS, /* uint32_t: 150 for "1.5" */
	OPTION_CHOICE,     /* int: index into choices */
	OPTION_TYPE_COUNT
};

/* What a word may be, for shell completion. */
enum complete_kind {
	COMPLETE_NOTHING,
	COMPLETE_FILES,
	COMPLETE_CONTAINERS,
	COMPLETE_RUNNING,
	COMPLETE_IMAGES,
	COMPLETE_NETWORKS,
	COMPLETE_VOLUMES,
	COMPLETE_SNAPSHOTS,
};

/* What an option is worth where a program goes on that has been running for long, as in a snapshot:
 * what is not worth anything is refused there. */
enum option_warmth {
	COLD,      /* nothing */
	WARM_FIND, /* it finds the image that the snapshot came with */
	WARM,      /* always something */
};

struct option_spec {
	const char *name; /* long name; a NULL name ends a table */
	char letter;      /* 0 none */
	enum option_type type;
	size_t offset;
	const char *value; /* placeholder in help: "SIZE"; NULL for flags and choices */
	const char *help;
	const char *alias;          /* a second long name, or NULL */
	const char *const *choices; /* NULL-terminated */
	uint64_t initial;           /* of U32, HUNDREDTHS, SIZE, CHOICE */
	uint64_t minimum;           /* of U32, HUNDREDTHS, SIZE */
	enum complete_kind complete;
	enum option_warmth warmth;
};

/* The offset of a member, refused by the compiler unless the member has this type. */
#define OPTION_AT(container, member, member_type)                                                  \
	.offset =                                                                                  \
		offsetof(container, member) +                                                      \
		0 * sizeof(struct {                                                                \
			_Static_assert(__builtin_types_compatible_p(                               \
					       __typeof__(((container *)0)->member), member_type), \
				       "the option's type is not that of " #member);               \
			int unused;                                                                \
		})

#define OPT_FLAG(name_, letter_, container, member, help_, ...)                       \
	{                                                                             \
		.name = name_, .letter = letter_, .type = OPTION_FLAG, .help = help_, \
		OPTION_AT(container, member, bool), __VA_ARGS__                       \
	}
#define OPT_STRING(name_, letter_, value_, container, member, help_, ...)                 \
	{                                                                                 \
		.name = name_, .letter = letter_, .type = OPTION_STRING, .value = value_, \
		.help = help_, OPTION_AT(container, member, const char *), __VA_ARGS__    \
	}
#define OPT_LIST(name_, letter_, value_, container, member, help_, ...)                 \
	{                                                                               \
		.name = name_, .letter = letter_, .type = OPTION_LIST, .value = value_, \
		.help = help_, OPTION_AT(container, member, char **), __VA_ARGS__       \
	}
#define OPT_SIZE(name_, letter_, value_, container, member, help_, ...)                 \
	{                                                                               \
		.name = name_, .letter = letter_, .type = OPTION_SIZE, .value = value_, \
		.help = help_, OPTION_AT(container, member, uint64_t), __VA_ARGS__      \
	}
#define OPT_U32(name_, letter_, value_, container, member, help_, ...)                 \
	{                                                                              \
		.name = name_, .letter = letter_, .type = OPTION_U32, .value = value_, \
		.help = help_, OPTION_AT(container, member, uint32_t), __VA_ARGS__     \
	}
#define OPT_HUNDREDTHS(name_, letter_, value_, container, member, help_, ...)                 \
	{                                                                                     \
		.name = name_, .letter = letter_, .type = OPTION_HUNDREDTHS, .value = value_, \
		.help = help_, OPTION_AT(container, member, uint32_t), __VA_ARGS__            \
	}
#define OPT_CHOICE(name_, letter_, choices_, container, member, help_, ...)                   \
	{                                                                                     \
		.name = name_, .letter = letter_, .type = OPTION_CHOICE, .choices = choices_, \
		.help = help_, OPTION_AT(container, member, int), __VA_ARGS__                 \
	}
#define OPT_END              \
	{                    \
		.name = NULL \
	}

struct option_group {
	const char *title;                 /* heading in help; NULL: "Options" */
	const struct option_spec *options; /* NULL ends the groups of a command */
	size_t base;                       /* where the group's struct is in the command's */
};

#define COMMAND_ALIASES_MAX 3
#define ARGS_MANY (-1)

struct command {
	const char *name;
	const char *aliases[COMMAND_ALIASES_MAX]; /* unused ones are NULL */
	const char *args;                         /* "IMAGE [ARG...]"; NULL none */
	const char *summary;                      /* one line, lower case, no full stop */
	const char *description;                  /* further text for help, or NULL */
	const struct option_group *groups;        /* or NULL */
	size_t options_size;                      /* of the command's options struct */
	int min_args, max_args;
	bool options_first;                       /* options end at the first other word */
	bool hidden;                              /* not listed in help and completion */
	enum complete_kind complete;              /* what the arguments are */
	const struct command *const *subcommands; /* NULL-terminated; of a group of commands */
	/* Returns the exit status (≥ 0) or a negative errno with err set. args is NULL-terminated,
	 * its count checked against min_args and max_args. */
	int (*run)(struct cli *cli, const void *options, char **args, struct err *err);
};

/* The program itself: the root of the table. */
extern const struct command command_root;

/* The words that lead to a command: the root first. */
#define COMMAND_DEPTH_MAX 4
struct command_path {
	const struct command *items[COMMAND_DEPTH_MAX];
	size_t count;
};

static inline const struct command *command_path_last(const struct command_path *path)
{
	return path->items[path->count - 1];
}

/* Goes one word down: by name, by alias and, at the root, by the names docker has for what is
 * deeper here ("rmi"). False when there is no such command; path is unchanged then. */
bool command_path_descend(struct command_path *path, const char *word);
/* The name nearest to word below the path's last command, or NULL when none is near. */
const char *command_path_hint(const struct command_path *path, const char *word);
/* "hull image pull"; owned by the caller. */
char *command_path_text(const struct command_path *path);

#endif
