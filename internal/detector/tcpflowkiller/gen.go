package tcpflowkiller

//go:generate go tool bpf2go -cflags "-O2 -g -Wall -Werror -Wno-unknown-warning-option -Wno-default-const-init-var-unsafe -mcpu=v3" -target bpfel -type event -type own_counter -type fate -type reason -type act -type spared -type address -type kept -type listed_socket -type scan_rule -type limit_index bpf tcpflowkiller.bpf.c -- -I../../../bpf -Ifirstbytes -I.
