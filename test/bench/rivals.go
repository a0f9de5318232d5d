package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// A rival is a program of the comparison, while it runs.
type rival struct {
	pid      int                    // of the process that has the BPF programs
	reported func() (uint64, error) // how many execs with the banned word it has seen
	stop     func() error
}

// A contender starts a rival that has to find the word in a command line.
type contender struct {
	name  string
	kills bool
	start func(ctx context.Context, b *bench, word string) (*rival, error)
}

func contenders() []contender {
	return []contender{
		{"cryptnono", true, startOurs},
		{"execsnoop", false, func(ctx context.Context, b *bench, word string) (*rival, error) {
			return startExecsnoop(ctx, word, nil)
		}},
		{"execsnoop and the older rule", true, func(ctx context.Context, b *bench, word string) (*rival, error) {
			return startExecsnoop(ctx, word, &olderRule{bans: []string{word}})
		}},
	}
}

// startOurs starts the agent with its defaults and the word as a ban.
func startOurs(ctx context.Context, b *bench, word string) (*rival, error) {
	const address = "127.0.0.1:12191"
	file := filepath.Join(b.dir, "compare.json")
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"bannedCommandStrings": [%q]}`, word), 0o600); err != nil {
		return nil, err
	}
	a, err := b.start(ctx, "--rules", file, "--action", "kill", "--listen", address)
	if err != nil {
		return nil, err
	}
	return &rival{
		pid: a.cmd.Process.Pid, stop: a.stop,
		reported: func() (uint64, error) {
			return counter(ctx, "http://"+address+"/metrics", `cryptnono_execwhacker_processes_killed_total{source="exec"} `)
		},
	}, nil
}

// counter returns the value in the line of a page of metrics that begins with name.
func counter(ctx context.Context, page, name string) (uint64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return uint64(n), err
		}
	}
	return 0, fmt.Errorf("%s has no %s", page, name)
}

// startExecsnoop starts execsnoop of libbpf-tools, which reports each exec, and counts those with
// the word. A rule kills what it bans. Debian builds execsnoop on the tracepoints of execve, so
// that it runs on kernels without kprobes.
func startExecsnoop(ctx context.Context, word string, rule *olderRule) (*rival, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, "cryptnono", "programs")
	if out, err := exec.CommandContext(ctx, "scripts/fetch-programs", dir, "libbpf-tools").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("fetching execsnoop: %w\n%s", err, out)
	}
	root := filepath.Join(dir, "root")
	loaders, _ := filepath.Glob(root + "/usr/lib/*-linux-gnu/ld-linux-*.so.*")
	buffers, _ := filepath.Glob("/usr/libexec/coreutils/libstdbuf.so")
	if len(loaders) == 0 || len(buffers) == 0 {
		return nil, errors.New("execsnoop needs Debian's loader and stdbuf")
	}
	cmd := exec.CommandContext(ctx, loaders[0], "--library-path", filepath.Dir(loaders[0]), root+"/usr/sbin/execsnoop-libbpf")
	cmd.Env = []string{"LD_PRELOAD=" + buffers[0], "_STDBUF_O=L"} // a line at once
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	lines, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var seen atomic.Uint64
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		all := bufio.NewScanner(lines)
		for all.Scan() {
			pid, args := parseExecsnoop(all.Text())
			if pid == 0 || !strings.Contains(args, word) {
				continue
			}
			if rule != nil && rule.kills(args) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			seen.Add(1)
		}
	}()
	return &rival{
		pid:      cmd.Process.Pid,
		reported: func() (uint64, error) { return seen.Load(), nil },
		stop: func() error {
			_ = cmd.Process.Signal(os.Interrupt)
			<-drained
			if err := cmd.Wait(); err != nil {
				return fmt.Errorf("execsnoop: %w\n%s", err, stderr.Bytes())
			}
			return nil
		},
	}, nil
}

// parseExecsnoop returns the process and the arguments in a line of execsnoop, whose first column
// has 16 bytes; pid 0 for another line.
func parseExecsnoop(line string) (pid int, args string) {
	if len(line) < 16 {
		return 0, ""
	}
	rest := line[16:]
	var fields [3]string // PID PPID RET
	for i := range fields {
		fields[i], rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, ""
	}
	return pid, rest
}

// memory returns the bytes of the process in RAM, and of its BPF maps in the kernel.
func (r *rival) memory() (user, kernel uint64, err error) {
	p, err := procfs.NewProc(r.pid)
	if err != nil {
		return 0, 0, err
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0, 0, err
	}
	for _, bytes := range fdinfo(r.pid, "map_id") {
		kernel += bytes
	}
	return status.VmRSS, kernel, nil
}

// settled waits until no more execs are reported, and returns how many were.
func (r *rival) settled() (uint64, error) {
	for before := uint64(0); ; {
		n, err := r.reported()
		if err != nil || n == before && n > 0 {
			return n, err
		}
		before = n
		time.Sleep(time.Second)
	}
}
