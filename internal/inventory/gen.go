package inventory

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type process -type cgroup_path bpf inventory.bpf.c -- -I../../bpf
