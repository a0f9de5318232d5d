package verdict

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type event_head -type ancestor -type way_up -type outcome -type counter bpf types.bpf.c -- -I../../bpf
