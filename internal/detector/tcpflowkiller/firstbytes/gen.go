package firstbytes

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type order -type finding -type word -type key -type context -type name_action bpf firstbytes.bpf.c -- -I../../../../bpf
