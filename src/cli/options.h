/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of argument vectors by the tables of command.h, with getopt_long. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/command.h"

/* What every command understands; not part of the commands' own tables. */
struct common_options {
	bool debug;
	bool help;
	bool version; /* of the root alone */
	const char *root;
};
extern const struct option_spec common_options[];
extern const struct option_spec root_options[]; /* common ones and --version */

/* Parses argv[1..] (argv[0] is any word). Values go to `values` (of command->options_size bytes,
 * may be NULL when there are no groups) and `common`; argv is permuted unless the command says
 * options_first. *ret_first is the index of the first argument. -EINVAL with what is wrong; --help
 * wins over it. */
int options_parse(const struct command *command, int argc, char **argv, void *values,
		  struct common_options *common, int *ret_first, struct err *err);
/* Sets the initial values. */
void options_init(const struct command *command, void *values);
/* Frees the lists. */
void options_release(const struct command *command, void *values);
/* The first option with a value other than its initial one that is colder than least; NULL: none.
 */
const struct option_spec *options_first_colder(const struct command *command, const void *values,
					       enum option_warmth least);
/* The specification of "--name", "--name=value" or "-x" for the command, common ones included, or
 * NULL. */
const struct option_spec *options_find(const struct command *command, const char *word);

#endif
