package config

//go:generate go generate ../rules
//go:generate go run ./generate ../..

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cryptnono/cryptnono/internal/escalate"
	"github.com/cryptnono/cryptnono/internal/exempt"
	"github.com/cryptnono/cryptnono/internal/killlimit"
	"github.com/cryptnono/cryptnono/internal/notify"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/setting"
)

const (
	minScanInterval = time.Second
	month           = 720 * time.Hour
)

// Table declares the settings, the general ones and a group for each detector, as fields
// of c.
func (c *Config) Table() setting.Table {
	table := setting.Table{
		setting.Texts("rules", &c.Rules, setting.Syntax{Name: "paths", Check: checkFilled},
			"Rule files, and directories of rule files. A relative path is relative to the directory of the settings file."),
		setting.Switches("builtinRules", c.BuiltinRules, "Use the [built-in rules](#built-in-rules) in addition to yours: all of them, none, or each group by its name.",
			rules.Kill, rules.Observe, rules.Off).Usually("[by group](#built-in-rules)"),
		setting.Choice("action", &c.Action, "`observe` logs and counts matches without killing.", rules.Kill, rules.Observe),
		setting.Choice("onBadRules", &c.OnBadRules, "What the agent does if it starts while a rule file has a problem: `kill` protects with the built-in rules and the other files, "+
			"`observe` only logs by them, `stop` ends the agent: [A rule file with a problem](#a-rule-file-with-a-problem).", KillWithout, ObserveWithout, StopWithout),
		setting.Duration("scanInterval", &c.ScanInterval, 0, month, "Time between two scans for running processes without a verdict "+
			"by the current rules. The first scan is at start; a change of the rules starts another. At least `1s`. `0` disables scans, "+
			"except for processes that started since the agent and were missed.").And(c.checkScanInterval),
		setting.Text("listen", &c.Listen, setting.Syntax{Name: "`HOST:PORT`", Check: checkListen}, "Address of the HTTP endpoints. "+
			"`:9417` listens on all addresses; port 0 takes any free port. Empty disables the endpoints."),
		setting.Text("listenTokenFile", &c.ListenTokenFile, setting.Syntax{Name: "path"}, "File with a bearer token of up to 4 KiB. Only a client with this token "+
			"gets the metrics and the reasons of a failing `/healthz` or `/readyz`: [Who can read the port](cli.md#who-can-read-the-port). Empty for all clients."),
		setting.Choice("logLevel", &c.LogLevel, "Minimum level of log lines. Verdicts are always logged. `debug` also logs [each program that starts](logs.md#programs-that-start) and [each that computes](logs.md#programs-that-compute).", slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError),
		setting.Texts("logEnv", &c.LogEnv, setting.Syntax{Name: "names", Check: checkVariable}, "Environment variables of a process that "+
			"its log line includes, such as `JUPYTERHUB_USER`. Other variables are never logged. For an exec, only the first 16 KiB of the environment are searched."),
		setting.Texts("logAnnotations", &c.Annotations, setting.Syntax{Name: "names", Check: checkAnnotation, Pattern: annotation},
			"Annotations of a pod that its log lines include. The default ones are the user and the server of JupyterHub: [who it was](respond.md#who-was-it). "+
				"At most 16.").And(c.checkAnnotations),
		setting.Texts("notices", &c.Notices, setting.Syntax{Name: "texts", Check: checkFilled}, "What the operator should know about the settings. Each one is a `WARN` line "+
			"when the settings are loaded, and `cryptnono_config_notices` counts them. The chart names values there that have no effect."),
		setting.Text("nodeName", &c.NodeName, setting.Syntax{Name: "text"}, "Name of this machine in the log.").
			Usually("`$NODE_NAME`, or the host's name"),
		setting.Text("pins", &c.Pins, setting.Syntax{Name: "path", Check: checkPins, Pattern: "^/"}, "Directory in a BPF file system, "+
			"such as `/sys/fs/bpf/cryptnono`, where what protects is pinned, so that protection outlives the agent: [pins.md](pins.md). Empty for none."),
		setting.Group("exemptions", c.exemptions()),
		setting.Group("killLimit", c.killLimit()),
		setting.Group("escalation", c.escalation()),
		setting.Group("containers", c.containers()),
		setting.Group("evidence", c.evidence()),
		setting.Group("notify", setting.Table{
			setting.List("receivers", &c.Receivers, notify.Usual(), "HTTP servers that are notified of verdicts: [Notifications](respond.md#notifications).").
				And(func() error { return notify.CheckNames(c.Receivers) }),
		}),
	}
	for _, name := range slices.Sorted(maps.Keys(c.Detectors)) {
		table = append(table, setting.Group(name, c.Detectors[name].Table()))
	}
	return table
}

func (c *Config) exemptions() setting.Table {
	e := &c.Exemptions
	return setting.Table{
		setting.Texts("namespaces", &e.Namespaces, setting.Syntax{Name: "names", Check: exempt.CheckNamespace},
			"Kubernetes namespaces whose processes are never killed: [Exemptions](#exemptions)."),
		setting.Texts("podLabels", &e.PodLabels, setting.Syntax{Name: "`KEY=VALUE` or `KEY`", Check: exempt.CheckLabel},
			"Labels of pods whose processes are never killed."),
		setting.Texts("cgroups", &e.Cgroups, setting.Syntax{Name: "patterns", Check: exempt.CheckCgroup, Pattern: "^/"},
			"Cgroups whose processes are never killed, such as `/system.slice/kubelet.service`."),
		setting.Texts("programs", &e.Programs, setting.Syntax{Name: "paths", Check: exempt.CheckProgram, Pattern: "^/"},
			"Programs of the host that are never killed.").And(c.checkPrograms),
		setting.Bool("nodeRoot", &e.NodeRoot, "Root on the node, outside of containers, is exempt from bans of rule files with `spareNodeRoot`."),
	}
}

func (c *Config) killLimit() setting.Table {
	l := &c.KillLimit
	return setting.Table{
		setting.Int("victims", &l.Victims, 0, killlimit.MaxVictims, "Maximum containers and users that a rule hits on this machine within a minute. "+
			"A rule that hits more is stopped: [The kill limit](#the-kill-limit). `0` for no limit."),
		setting.Duration("warmUp", &l.WarmUp, 0, 24*time.Hour, "For this time, the limit applies to all that a new or changed rule has hit since its start."),
		setting.Duration("cooldown", &l.Cooldown, time.Minute, month, "A stopped rule kills again after this time without too many victims."),
		setting.Int("perMinute", &l.PerMinute, 0, killlimit.Max, "Deprecated: maximum kills per minute on this machine, by all rules. An attacker can "+
			"reach it. `0` for no limit."),
		setting.Int("perContainer", &l.PerContainer, 0, killlimit.Max, "Deprecated: the same limit for each container."),
	}
}

func (c *Config) escalation() setting.Table {
	e := &c.Escalation
	return setting.Table{
		setting.Choice("parent", &e.Parent, "What is done with a process that starts killed programs again and again in its container: [Escalation](respond.md#escalation).",
			rules.Kill, rules.Observe, rules.Off),
		setting.Int("parentKills", &e.ParentKills, escalate.MinParentKills, escalate.MaxKills, "After so many kills in the container."),
		setting.Choice("container", &e.Container, "What is done with a whole container in which processes are killed again and again.", rules.Kill, rules.Observe, rules.Off),
		setting.Int("containerKills", &e.ContainerKills, 1, escalate.MaxKills, "After so many kills in the container."),
		setting.Duration("within", &e.Within, time.Minute, 24*time.Hour, "Time within which these kills count."),
		setting.Bool("sessions", &e.Sessions, "Outside of containers, take the same steps in the session of a user, which ends it."),
	}
}

func (c *Config) evidence() setting.Table {
	e := &c.Evidence
	return setting.Table{
		setting.Bool("executable", &e.Executable, "Log the SHA-256, size and place of the executed file: [Evidence](logs.md#evidence)."),
		setting.Bool("workingDirectory", &e.WorkingDirectory, "Log the working directory of the process."),
		setting.Bool("ancestors", &e.Ancestors, "Log the ancestors of the process within its container, with their programs."),
		setting.Bool("times", &e.Times, "Log when the process was started, when the verdict was given and when the process had ended."),
		setting.Bool("processes", &e.Processes, "After a verdict in a container, log its processes with their command lines, in a line `evidence`."),
		setting.Bool("connections", &e.Connections, "Log the TCP connections of the container in that line."),
		setting.Duration("interval", &e.Interval, time.Minute, month, "Time between two of these lines about a container."),
	}
}

func (c *Config) containers() setting.Table {
	absolute := func(name string) setting.Syntax {
		return setting.Syntax{Name: name, Check: checkAbsolute, Pattern: "^/"}
	}
	return setting.Table{
		setting.Texts("sockets", &c.Containers.Sockets, absolute("paths"),
			"Host paths of container runtime sockets, in addition to the default ones: [identity.md](identity.md)."),
		setting.Texts("nestedSockets", &c.Containers.NestedSockets, absolute("paths"), "Host paths of sockets of runtimes that run in pods, in addition "+
			"to those of BinderHub. They name nested containers. A socket in both lists counts as one of these."),
		setting.Text("cgroupRoot", &c.Containers.CgroupRoot, absolute("path"),
			"Cgroup of the node, such as `/docker/ID`, if the node is itself a container."),
	}
}

func checkFilled(text string) error {
	if text == "" {
		return errors.New("empty string")
	}
	return nil
}

func checkPins(path string) error {
	if err := checkAbsolute(path); err != nil {
		return err
	}
	if path != filepath.Clean(path) || path == "/" || strings.Contains(filepath.Base(path), ".") {
		return fmt.Errorf("%q is not the path of a directory in a BPF file system: no name there has a dot", path)
	}
	return nil
}

func checkAbsolute(path string) error {
	if !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q does not begin with /", path)
	}
	return nil
}

func checkVariable(name string) error {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		return fmt.Errorf("%q is not the name of an environment variable", name)
	}
	return nil
}

// annotation is a pattern of the names of annotations in Kubernetes.
const annotation = `^[A-Za-z0-9][-A-Za-z0-9_./]*$`

func checkAnnotation(name string) error {
	if !regexp.MustCompile(annotation).MatchString(name) {
		return fmt.Errorf("%q is not the name of an annotation", name)
	}
	return nil
}

func (c *Config) checkAnnotations() error {
	const most = 16 // they are cached for each container
	if n := len(c.Annotations); n > most {
		return fmt.Errorf("%d annotations, at most %d are allowed", n, most)
	}
	return nil
}

func (c *Config) checkScanInterval() error {
	if c.ScanInterval != 0 && c.ScanInterval < minScanInterval {
		return fmt.Errorf("%v is below %v; 0 disables scans", c.ScanInterval, minScanInterval)
	}
	return nil
}

func (c *Config) checkPrograms() error {
	if n := len(c.Exemptions.Programs); n > exempt.MaxPrograms {
		return fmt.Errorf("%d programs, at most %d are allowed", n, exempt.MaxPrograms)
	}
	return nil
}

func checkListen(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("want HOST:PORT: %w", err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}
