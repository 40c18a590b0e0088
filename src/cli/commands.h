/* SPDX-License-Identifier: Apache-2.0 */
/* Every command of the program, each defined at the end of its own file. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/command.h"

extern const struct command cmd_attach, cmd_complete, cmd_completion, cmd_copy, cmd_create,
	cmd_delete, cmd_exec, cmd_fork, cmd_help, cmd_inspect, cmd_kill, cmd_list, cmd_logs,
	cmd_pause, cmd_port, cmd_prune, cmd_rename, cmd_restart, cmd_run, cmd_start, cmd_stats,
	cmd_stop, cmd_suspend, cmd_resume, cmd_unpause, cmd_wait;
extern const struct command cmd_commit, cmd_diff, cmd_export;

extern const struct command cmd_image;
extern const struct command cmd_image_delete, cmd_image_history, cmd_image_import,
	cmd_image_inspect, cmd_image_list, cmd_image_load, cmd_image_prune, cmd_image_pull,
	cmd_image_push, cmd_image_save, cmd_image_tag;

extern const struct command cmd_events, cmd_top, cmd_update;
extern const struct command cmd_registry, cmd_registry_list, cmd_registry_login,
	cmd_registry_logout;
extern const struct command cmd_network;
extern const struct command cmd_network_connect, cmd_network_create, cmd_network_delete,
	cmd_network_disconnect, cmd_network_inspect, cmd_network_list, cmd_network_prune;

extern const struct command cmd_snapshot;
extern const struct command cmd_snapshot_create, cmd_snapshot_delete, cmd_snapshot_inspect,
	cmd_snapshot_list, cmd_snapshot_restore;
extern const struct command cmd_volume;
extern const struct command cmd_volume_create, cmd_volume_delete, cmd_volume_inspect,
	cmd_volume_list, cmd_volume_prune;

extern const struct command cmd_system_dns, cmd_system_dns_create, cmd_system_dns_delete,
	cmd_system_dns_list;
extern const struct command cmd_system;
extern const struct command cmd_system_df, cmd_system_doctor, cmd_system_kernel, cmd_system_logs,
	cmd_system_property, cmd_system_prune, cmd_system_start, cmd_system_status, cmd_system_stop,
	cmd_system_version;
extern const struct command cmd_system_kernel_list, cmd_system_kernel_set, cmd_system_property_list;

#endif
