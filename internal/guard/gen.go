package guard

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type process -type cgroup_path -type policy -type brake -type standing bpf guard.bpf.c -- -I../../bpf
