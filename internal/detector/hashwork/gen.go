package hashwork

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target amd64,arm64 -type sample -type counter bpf clock.bpf.c -- -I../../../bpf

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type event -type program_file -type learned_file -type outcome learned learned.bpf.c -- -I../../../bpf
