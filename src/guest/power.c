/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/power.h"

#include <sys/reboot.h>
#include <unistd.h>

void power_off(void)
{
	reboot(RB_POWER_OFF);
	for (;;)
		pause(); /* process 1 never ends */
}
