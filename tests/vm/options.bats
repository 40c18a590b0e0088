#!/usr/bin/env bats
# What the options of `run` make of the process and its machine.

load helpers

@test "-e sets a variable, takes ours, and the last one wins" {
	MINE=ours run -0 hull run --rm -e A=1 -e 'B=two words' -e MINE -e NOTSET_HERE -e A=3 busybox env
	assert_line A=3
	assert_line 'B=two words'
	assert_line MINE=ours
	refute_line --partial NOTSET_HERE
	assert_line 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
	assert_line HOME=/root
}

@test "--env-file is read: comments, blank lines, our own variables, a FIFO" {
	printf '# comment\n\nA=from file\nOURS\nB=x=y\n' > vars
	OURS=here run -0 hull run --rm --env-file vars -e B=flag busybox env
	assert_line 'A=from file'
	assert_line OURS=here
	assert_line B=flag
	run -0 hull run --rm --env-file <(echo C=fifo) busybox env
	assert_line C=fifo
	run -125 hull run --rm --env-file nosuch busybox env
	assert_output "Error: cannot open environment file 'nosuch': No such file or directory"
}

@test "-w is where it starts; what is not there is made" {
	run -0 hull run --rm -w /etc busybox pwd
	assert_output /etc
	run -0 hull run --rm --workdir /new/place busybox pwd
	assert_output /new/place
	run -0 hull run --rm busybox pwd
	assert_output /
}

@test "-u takes names and numbers, with or without a group" {
	run -0 hull run --rm -u nobody busybox sh -c 'id -u; id -g; echo $HOME'
	assert_line --index 0 65534
	run -0 hull run --rm -u 1000:2000 busybox sh -c 'echo $(id -u) $(id -g)'
	assert_output '1000 2000'
	run -0 hull run --rm --uid 1000 --gid 5 busybox sh -c 'echo $(id -u) $(id -g)'
	assert_output '1000 5'
	run -0 hull run --rm -u 1000 busybox grep CapEff /proc/self/status
	assert_output $'CapEff:\t0000000000000000'
}

@test "another user can write to the standard streams by name" {
	run -0 --separate-stderr hull run --rm -u 1000 busybox sh -c 'echo out > /dev/stdout; echo err > /dev/stderr'
	assert_output out
	assert_equal "$stderr" err
}

@test "--entrypoint goes before the arguments" {
	run -0 hull run --rm --entrypoint echo busybox a b
	assert_output 'a b'
	run -0 hull run --rm --entrypoint '' busybox echo plain
	assert_output plain
}

@test "--init is PID 1, reaps orphans, passes on signals and the status" {
	run -5 hull run --rm --init busybox sh -c 'echo $$; (sh -c "sleep 0.1" &); sleep 0.5; ps -o stat= | grep -c Z; exit 5'
	refute_line --index 0 1
	assert_line --index 1 0
	run -0 hull run -d --init --name it busybox sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.1; done'
	logged it ready
	run -0 hull stop it
	run -0 hull wait it
	assert_output 9
}

@test "--hostname and the name in /etc/hosts" {
	run -0 hull run --rm --hostname box.example busybox sh -c 'hostname; cat /etc/hostname; grep -c box.example /etc/hosts; echo $HOSTNAME'
	assert_output $'box.example\nbox.example\n2\nbox.example'
	run -0 hull run --rm --name named busybox hostname
	assert_output named
}

@test "--ulimit sets soft and hard limits" {
	run -0 hull run --rm --ulimit nofile=100:200 --ulimit core=0 busybox sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c'
	assert_output $'100\n200\n0'
}

@test "capabilities are the usual ones by default" {
	run -0 hull run --rm busybox grep -E 'Cap(Eff|Bnd|Inh|Amb)' /proc/self/status
	assert_line $'CapEff:\t00000000a80425fb'
	assert_line $'CapBnd:\t00000000a80425fb'
	assert_line $'CapInh:\t0000000000000000'
	assert_line $'CapAmb:\t0000000000000000'
}

@test "--cap-add, --cap-drop and --privileged change them" {
	run -0 hull run --rm --cap-drop all busybox grep CapEff /proc/self/status
	assert_output $'CapEff:\t0000000000000000'
	run -0 hull run --rm --cap-drop all --cap-add NET_RAW busybox grep CapEff /proc/self/status
	assert_output $'CapEff:\t0000000000002000'
	run -0 hull run --rm --cap-drop chown --cap-add cap_sys_admin busybox grep CapEff /proc/self/status
	assert_output $'CapEff:\t00000000a82425fa'
	run -0 hull run --rm --privileged busybox grep CapEff /proc/self/status
	assert_output $'CapEff:\t000001ffffffffff'
}

@test "--read-only lets nobody write to the root file system" {
	run -1 hull run --rm --read-only busybox touch /x
	assert_output 'touch: /x: Read-only file system'
	run -0 hull run --rm --read-only busybox touch /dev/shm/x
}

@test "--tmpfs is an empty file system with its options" {
	run -0 hull run --rm --read-only --tmpfs /scratch:size=1m,mode=700 busybox \
		sh -c 'stat -c %a /scratch; df -k /scratch | tail -1 | awk "{print \$2}"; touch /scratch/x; grep " /scratch " /proc/mounts'
	assert_line --index 0 700
	assert_line --index 1 1024
	assert_line --index 2 --regexp '^tmpfs /scratch tmpfs rw,nosuid,nodev,noexec'
	run -0 hull run --rm --tmpfs /a:rw,exec,uid=7,gid=8 --mount type=tmpfs,target=/b,tmpfs-size=64k,tmpfs-mode=1700,readonly busybox \
		sh -c 'cp /bin/busybox /a/true; /a/true; stat -c "%u %g %a" /a /b; ! touch /b/x 2> /dev/null'
	assert_output $'7 8 1777\n0 0 1700'
}

@test "--shm-size is the size of /dev/shm" {
	run -0 hull run --rm busybox sh -c 'df -k /dev/shm | tail -1 | awk "{print \$2}"'
	assert_output 65536
	run -0 hull run --rm --shm-size 8m busybox sh -c 'df -k /dev/shm | tail -1 | awk "{print \$2}"'
	assert_output 8192
}

@test "--sysctl sets a kernel parameter, and an unknown one is an error" {
	run -0 hull run --rm --sysctl kernel.msgmax=1234 --sysctl net.ipv4.ip_forward=1 busybox \
		cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward
	assert_output $'1234\n1'
	run -125 --separate-stderr hull run --rm --sysctl no.such=1 busybox true
	assert_equal "${#stderr_lines[@]}" 1
	[[ $stderr == Error:*no.such* || $stderr == Error:*no/such* ]]
}

@test "masked paths hide what they hold; read-only ones cannot be written" {
	run -0 hull run --rm busybox sh -c 'cat /proc/keys /proc/timer_list /proc/kcore 2> /dev/null | wc -c; find /sys/firmware /proc/scsi /proc/acpi -mindepth 1 2> /dev/null | wc -l'
	assert_output $'0\n0'
	run -1 hull run --rm busybox sh -c 'echo 1 > /proc/sys/kernel/msgmax'
	assert_output --partial 'Read-only file system'
	run -0 hull run --rm --privileged busybox sh -c 'echo 1234 > /proc/sys/kernel/msgmax; cat /proc/sys/kernel/msgmax'
	assert_output 1234
	run -0 hull run --rm --masked-path /etc/hosts busybox cat /etc/hosts
	assert_output ''
	run -0 hull run --rm --read-only-path NONE busybox sh -c 'echo 1234 > /proc/sys/kernel/msgmax'
}

@test "--pids-limit bounds processes" {
	run hull run --rm --pids-limit 5 busybox sh -c 'for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo all'
	assert_output --partial "fork"
	refute_output --partial all
}

@test "-m is the limit: what goes beyond it is killed" {
	fails 125 'Error: a memory limit below 16 MiB is too small to start' hull run --rm -m 15m busybox true
	fails 125 "Error: a memory limit of 104857600 MiB is more than the $(awk '/^(MemTotal|SwapTotal)/ { kib += $2 } END { printf "%d", kib / 1024 }' /proc/meminfo) MiB of this host" \
		hull run --rm -m 100t busybox true
	fails 125 "Error: 5000 CPUs are more than the $(nproc) of this host" hull run --rm --cpus 5000 busybox true
	run -0 hull run --rm -m 64m --cpus .5 busybox cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max
	assert_line --index 0 '50000 100000'
	assert_line --index 1 67108864
	run -137 hull run --rm -m 64m busybox sh -c 'tail -c 200m /dev/zero'
	# The machine and other containers are none the worse.
	run -0 hull run --rm -m 64m busybox echo fine
}

@test "-m above the default gives a machine that has it" {
	run -0 --separate-stderr hull run --rm -m 1500m busybox sh -c 'awk "/MemTotal/ {print (\$2 > 1500000)}" /proc/meminfo; cat /sys/fs/cgroup/memory.max'
	assert_output $'1\n1572864000'
}

@test "-m too small to start in is refused" {
	fails 125 'Error: a memory limit below 16 MiB is too small to start' hull run --rm -m 1m busybox true
}

@test "-c is the number of processors" {
	run -0 hull run --rm -c 1 busybox nproc
	assert_output 1
}

@test "labels are there to be found" {
	hull create --name one -l color=red -l empty busybox true
	run -0 hull inspect one
	assert_equal "$(jq -c '.[0].configuration.labels' <<< "$output")" '{"color":"red","empty":""}'
	run -0 hull ls -aq --filter label=color=red
	assert_output one
	run -0 hull ls -aq --filter label=color=blue
	assert_output ''
}

@test "--stop-signal is what stop sends" {
	hull run -d --name sig --stop-signal USR1 busybox sh -c 'trap "exit 4" USR1; echo ready; while :; do sleep 0.1; done'
	logged sig ready
	run -0 hull stop -t 60 sig
	run -0 hull wait sig
	assert_output 4
}

@test "two containers share neither identity nor randomness" {
	run -0 hull run --rm busybox sh -c 'hostname; head -c 16 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid'
	local first=("${lines[@]}") i
	run -0 hull run --rm busybox sh -c 'hostname; head -c 16 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid'
	for i in 0 1 2; do
		refute_line --index "$i" "${first[i]}"
	done
}

@test "the guest's clock is right" {
	run -0 hull run --rm busybox date +%s
	local now
	now=$(date +%s)
	((output >= now - 10 && output <= now + 2))
}

@test "the devices are the usual ones, and no disk is among them" {
	run -0 hull run --rm busybox sh -c 'ls /dev'
	assert_line null
	assert_line urandom
	assert_line ptmx
	refute_line --partial vd
	run -0 hull run --rm busybox sh -c 'echo x > /dev/null; head -c 4 /dev/zero | wc -c; ls -l /proc/self/fd/0 > /dev/fd/1'
}

@test "update: limits and restart policy, while it runs and before a start" {
	hull run -d --name web -c 2 -m 512m busybox \
		sh -c '[ ! -e /went ] || exec sleep 1000; until [ -e /went ]; do sleep 0.1; done; exit 1'
	run -0 hull exec web sh -c 'nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'
	assert_output $'2\n536870912\nmax'
	run -0 hull update -c 1 -m 256m --pids-limit 50 --restart on-failure:3 web
	assert_output web
	run -0 hull exec web sh -c 'nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'
	assert_output $'1\n268435456\n50'
	hull update -c 0.75 web > /dev/null
	run -0 hull exec web sh -c 'nproc; cat /sys/fs/cgroup/cpu.max'
	assert_output $'1\n75000 100000'
	hull update -c 1 web > /dev/null
	run -0 hull exec web cat /sys/fs/cgroup/cpu.max
	assert_output 'max 100000'
	run -0 hull inspect web
	assert_equal "$(jq -c '.[0].configuration.resources | [.cpus, .memoryInBytes]' <<< "$output")" '[1,268435456]'
	run -1 --separate-stderr hull update -m 64g web
	assert_equal "$stderr" "Error: the machine of container web has 1.00 GiB; stop it to give it more"
	hull exec -d web touch /went
	soon hull exec web grep -q sleep /proc/1/cmdline
	hull update --restart no web
	hull stop -t 0 web
	run -0 hull update -m 300m web
	run -0 hull start web
	run -0 hull exec web cat /sys/fs/cgroup/memory.max
	assert_output 314572800
	fails 64 $'Error: say what to change\nUsage: hull update [OPTIONS] CONTAINER...' hull update web
	run -64 hull update --restart sometimes web
	run -1 hull update -c 1 nosuch
}
