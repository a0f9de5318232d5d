package killlimit

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type kill_limits -type rule_victims -type victim -type kill_count -type made_kills -type counted bpf killlimit.bpf.c -- -I../../bpf
