#!/bin/bash
# node.sh DIR: what a node is made of, in the network and mount namespaces that it is
# started in, below DIR. It ends by sleeping: as long as it does, the namespaces are
# there, and nothing of them is seen outside.
set -euo pipefail
dir=$1

mount --make-rprivate /
mount --make-rshared / # in here, for the kubelet
for path in /var/lib/kubelet /var/lib/containerd /run/containerd /var/log/pods /var/log/containers /run/netns; do
	mkdir -p "$path" "$dir/mounts$path"
	mount --bind "$dir/mounts$path" "$path"
done
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf

# The kubelet wants these set as it likes, and they are the whole machine's. It finds
# them so in files of our own.
n=0
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	n=$((n + 1))
	echo "${setting#*=}" >"$dir/setting$n"
	mount --bind "$dir/setting$n" "/proc/sys/${setting%=*}"
done

ip link set lo up
ip link add node0 type bridge
ip addr add "$NODE_IP/24" dev node0
ip link set node0 up
# Nobody answers there. Some components look for the interface of this route.
ip route add default via "${NODE_IP%.*}.1" dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

touch "$dir/ready"
exec sleep infinity
