package execwhacker

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target amd64,arm64 -type event -type record -type listed -type own_counter bpf execwhacker.bpf.c -- -I../../../bpf
