package monero

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -mcpu=v3" -target bpfel -type sample -type counter bpf monero.bpf.c -- -I../../../bpf
