#!/bin/bash
# machine.sh CGROUP COMMAND...: a machine within this one, for a package to be
# installed on: systemd is at work on it, and what is written to /etc, /usr and
# /var is gone at its end. Processes and kernel are those of this machine, since
# the agent needs the initial PID namespace. COMMAND runs on it.
#
# systemd runs as the manager of a user, root, as which it need not be process 1.
# Its directory is /run, so that what asks for the system's manager finds it.
#
# To be started in a mount namespace of its own.
set -euo pipefail

cgroup=$1
shift

# systemd takes over all processes of the cgroup that it is started in. That must
# be ours, or it would rearrange this machine.
while read -r _ hierarchy type _; do
	[[ $type == cgroup || $type == cgroup2 ]] || continue
	case ${hierarchy##*/} in
	cpuset* | freezer) continue ;; # which it leaves alone
	esac
	mkdir -p "$hierarchy/$cgroup"
	echo $$ >"$hierarchy/$cgroup/cgroup.procs"
done </proc/self/mounts
while IFS=: read -r _ controllers path; do
	case $controllers in
	*cpuset* | freezer | *hugetlb* | *net_* | perf_event | rdma | misc) continue ;;
	esac
	[[ $path == "/$cgroup" ]] || { echo "in cgroup $path ($controllers), not in /$cgroup" >&2; exit 1; }
done </proc/self/cgroup

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
for dir in etc usr var; do
	mkdir -p /run/writes/$dir /run/work/$dir
	mount -t overlay -o lowerdir=/$dir,upperdir=/run/writes/$dir,workdir=/run/work/$dir overlay /$dir
done
rm -f /usr/sbin/policy-rc.d # which container images have, so that nothing is started
rm -f /bin/kill             # which a minimal Debian does not have

# No unit but ours: those of this machine are not to be started again.
units=/usr/lib/systemd/system
mount -t tmpfs tmpfs $units
mount -t tmpfs tmpfs /etc/systemd/system
for target in basic shutdown machine multi-user; do
	printf '[Unit]\nDefaultDependencies=no\n' >$units/$target.target
done
mkdir -p /run/systemd/system /run/config/systemd
ln -s /etc/systemd/system /run/config/systemd/user # where it looks for what is enabled
env -i PATH="$PATH" XDG_RUNTIME_DIR=/run XDG_CONFIG_HOME=/run/config HOME=/root \
	SYSTEMD_UNIT_PATH=/run/config/systemd/user:$units \
	/usr/lib/systemd/systemd --user --unit=machine.target </dev/null >/dev/null 2>&1 &

# Its end is that of all its processes. systemd goes first, or it would start more.
systemd=$!
end() {
	kill -KILL $systemd
	local pids pid
	mapfile -t pids < <(find /sys/fs/cgroup -path "*/$cgroup/*" -name cgroup.procs -exec cat {} + 2>/dev/null)
	for pid in "${pids[@]}"; do
		[[ $pid == "$$" ]] || kill -KILL "$pid" 2>/dev/null || true
	done
}
trap end EXIT
for _ in {1..100}; do
	systemctl --system is-active -q machine.target 2>/dev/null && break
	sleep 0.05
done
systemctl --system is-active -q machine.target
"$@"
