#!/bin/bash
# machine.sh CGROUP COMMAND...: runs COMMAND where a package can be installed. systemd
# runs there, and changes to /etc, /usr and /var are discarded at the end. Processes
# and kernel are those of this machine, because the agent needs the initial PID
# namespace.
#
# systemd runs as the user manager of root, which need not be process 1. Its directory
# is /run, so that clients of the system manager find it.
#
# Start it in a new mount namespace.
set -euo pipefail

cgroup=$1
shift

# systemd manages all processes of the cgroup that it is started in. It must be the
# test's own cgroup, or systemd would change this machine.
while read -r _ hierarchy type _; do
	[[ $type == cgroup || $type == cgroup2 ]] || continue
	case ${hierarchy##*/} in
	cpuset* | freezer) continue ;; # systemd does not use these
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
mount -t bpf bpf /sys/fs/bpf # as systemd does at the boot
for dir in etc usr var; do
	mkdir -p /run/writes/$dir /run/work/$dir
	mount -t overlay -o lowerdir=/$dir,upperdir=/run/writes/$dir,workdir=/run/work/$dir overlay /$dir
done
rm -f /usr/sbin/policy-rc.d # container images have it, so that no service is started
rm -f /bin/kill             # a minimal Debian does not have it

# Hide the units of this machine, which must not be started again.
units=/usr/lib/systemd/system
mount -t tmpfs tmpfs $units
mount -t tmpfs tmpfs /etc/systemd/system
for target in basic shutdown machine multi-user; do
	printf '[Unit]\nDefaultDependencies=no\n' >$units/$target.target
done
mkdir -p /run/systemd/system /run/config/systemd
ln -s /etc/systemd/system /run/config/systemd/user # where systemd searches for enabled units
env -i PATH="$PATH" XDG_RUNTIME_DIR=/run XDG_CONFIG_HOME=/run/config HOME=/root \
	SYSTEMD_UNIT_PATH=/run/config/systemd/user:$units \
	/usr/lib/systemd/systemd --user --unit=machine.target </dev/null >/dev/null 2>&1 &

# At the end, kill all its processes. systemd first, because it would start others.
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
