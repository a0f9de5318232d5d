#!/bin/bash
# node.sh DIR: turns the network and mount namespaces that it is started in into a
# Kubernetes node, prints "up", and stays until it is killed. What it mounts and
# listens on is gone with it. Processes are those of the machine, since the agent
# needs the initial PID namespace.
set -euo pipefail
dir=$1

mount --make-rshared /
bind() {
	mkdir -p "$dir/root$1" "$1"
	mount --bind "$dir/root$1" "$1"
}
for path in /var/lib/kubelet /var/lib/containerd /run/containerd /var/log/pods /var/log/containers /run/netns; do
	bind $path
done
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf

# The kubelet insists on settings that are those of the whole machine. It finds them
# as it wants them, and the machine keeps its own.
while read -r key value; do
	file=$dir/sysctl-${key##*/}
	echo "$value" >"$file"
	mount --bind "$file" "/proc/sys/$key"
done <<-END
	vm/overcommit_memory 1
	vm/panic_on_oom 0
	kernel/panic 10
	kernel/panic_on_oops 1
	kernel/keys/root_maxkeys 1000000
	kernel/keys/root_maxbytes 25000000
END

ip link set lo up
ip link add node0 type bridge
ip address add 198.51.100.10/24 dev node0
ip link set node0 up
# Nobody is there. It tells the components which address is that of the node.
ip route add default via 198.51.100.1 dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

echo up
exec sleep infinity
