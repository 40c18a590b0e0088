/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli/cli.h"
#include "cli/commands.h"

/* bash ends words at ':' and '=' too: what it thinks is there already is cut off the candidates. */
static const char bash_script[] =
	"_hull() {\n"
	"	local line cut cur words\n"
	"	read -ra words <<<\"${COMP_LINE:0:COMP_POINT}\"\n"
	"	[[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=('')\n"
	"	cur=${words[-1]}\n"
	"	cut=${cur%\"${cur##*[:=]}\"}\n"
	"	COMPREPLY=()\n"
	"	while IFS=$'\\t' read -r line _; do\n"
	"		if [[ $line == :files ]]; then\n"
	"			compopt -o filenames\n"
	"			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY \\\n"
	"				< <(compgen -f -- \"${cur#\"$cut\"}\")\n"
	"		else\n"
	"			COMPREPLY+=(\"${line#\"$cut\"}\")\n"
	"		fi\n"
	"	done < <(\"${words[0]}\" __complete -- \"${words[@]:1}\" 2>/dev/null)\n"
	"}\n"
	"complete -F _hull hull applectl\n";

static const char zsh_script[] =
	"#compdef hull applectl\n"
	"_hull() {\n"
	"	local line files=0\n"
	"	local -a candidates\n"
	"	for line in \"${(@f)$(\"${words[1]}\" __complete -- \"${(@)words[2,CURRENT]}\" "
	"2>/dev/null)}\"; do\n"
	"		if [[ $line == :files ]]; then\n"
	"			files=1\n"
	"		elif [[ -n $line ]]; then\n"
	"			candidates+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
	"		fi\n"
	"	done\n"
	"	(( ${#candidates} )) && _describe hull candidates\n"
	"	(( files )) && _files\n"
	"}\n"
	"if [[ ${funcstack[1]} == _hull ]]; then\n"
	"	_hull \"$@\"\n"
	"else\n"
	"	compdef _hull hull applectl\n"
	"fi\n";

static const char fish_script[] =
	"function __hull_complete\n"
	"	set -l words (commandline -opc) (commandline -ct)\n"
	"	for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)\n"
	"		if test $line = :files\n"
	"			__fish_complete_path (commandline -ct)\n"
	"		else\n"
	"			echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c hull -f -a '(__hull_complete)'\n"
	"complete -c applectl -f -a '(__hull_complete)'\n";

static const struct {
	const char *shell, *script;
} scripts[] = {
	{ "bash", bash_script },
	{ "zsh", zsh_script },
	{ "fish", fish_script },
};

static int completion_run(struct cli *cli, const void *options, char **args, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		if (str_eq(scripts[i].shell, args[0])) {
			fputs(scripts[i].script, stdout);
			return CLI_STATUS_OK;
		}
	}
	return cli_usage(cli, err, "unknown shell '%s': it is one of bash, zsh, fish", args[0]);
}

const struct command cmd_completion = {
	.name = "completion",
	.args = "bash|zsh|fish",
	.summary = "print the completion script of a shell",
	.description = "bash: source <(hull completion bash); zsh: source <(hull completion zsh); "
		       "fish: hull completion fish | source.",
	.min_args = 1,
	.max_args = 1,
	.run = completion_run,
};
