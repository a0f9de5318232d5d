package hashwork

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/setting"
)

// Kind describes the detector.
func Kind() detector.Kind {
	return detector.Kind{
		Name:     Name,
		Settings: func() detector.Section { return Defaults() },
		Load:     detector.Loader(Load),
		// To open files that other processes execute: /proc/PID/map_files.
		Capabilities: []int{unix.CAP_CHECKPOINT_RESTORE},
		Views:        []detector.View{topView()},
	}
}

// Settings are the section of the settings file.
type Settings struct {
	Enabled    bool
	Action     rules.Action // Observe turns this detector's kills into observations
	SampleRate int          // samples a second and CPU
	Program    ProgramSettings
	Scratchpad ScratchpadSettings
	Unmasked   UnmaskedSettings
	MemoryHard MemoryHardSettings
	Report     ReportSettings
	Learned    LearnedSettings
}

// ProgramSettings are those of the rule program.
type ProgramSettings struct {
	Enabled  bool
	CPUTime  time.Duration // of the process or its cgroup, before it is examined
	MinShare float64       // of samples in the file or in anonymous memory
}

// ScratchpadSettings are those of the rule scratchpad.
type ScratchpadSettings struct{ Enabled bool }

// UnmaskedSettings are those of the rule unmasked.
type UnmaskedSettings struct{ Enabled bool }

// MemoryHardSettings are those of the rule memoryHard.
type MemoryHardSettings struct{ Enabled bool }

// ReportSettings are those of lines about what no rule matches.
type ReportSettings struct{ CPUHours int } // of a container; 0 for no lines

// LearnedSettings are those of files that the rule program has found.
type LearnedSettings struct {
	Enabled     bool
	ExpireAfter time.Duration // without an exec
}

// Defaults returns new settings with their defaults.
func Defaults() *Settings {
	return &Settings{
		Enabled: true, Action: rules.Kill, SampleRate: 49,
		Program:    ProgramSettings{Enabled: true, CPUTime: 2 * time.Second, MinShare: 0.8},
		Scratchpad: ScratchpadSettings{Enabled: true},
		Unmasked:   UnmaskedSettings{Enabled: true},
		Learned:    LearnedSettings{Enabled: true, ExpireAfter: 24 * time.Hour},
	}
}

// Table declares the settings.
func (s *Settings) Table() setting.Table {
	return setting.Table{
		setting.Bool("enabled", &s.Enabled, "Detect miners by the programs that compute."),
		setting.Choice("action", &s.Action, "As `action`, for this detector only.", rules.Kill, rules.Observe),
		setting.Int("sampleRate", &s.SampleRate, 5, 97, "Samples per second that are taken on each CPU. "+
			"An odd number, so that samples do not coincide with timers of 50 or 100 Hz."),
		setting.Group("program", setting.Table{
			setting.Bool("enabled", &s.Program.Enabled, "The rule `program`: a program file with the words of miners."),
			setting.Duration("cpuTime", &s.Program.CPUTime, time.Second, time.Hour, "CPU time that a process, or all processes "+
				"of its cgroup together, must use before the process is examined. Each further such time examines it again."),
			setting.Share("minShare", &s.Program.MinShare, "Minimum share of the samples that lie in the file or in "+
				"anonymous memory."),
		}),
		setting.Group("scratchpad", setting.Table{
			setting.Bool("enabled", &s.Scratchpad.Enabled, "The rule `scratchpad`: code that points all over a scratchpad, as some miners do."),
		}),
		setting.Group("unmasked", setting.Table{
			setting.Bool("enabled", &s.Unmasked.Enabled, "The rule `unmasked`: the same without the mask that names the "+
				"size of the scratchpad. By itself it only observes, but it is a [likely sign](rules.md#two-likely-signs), which can kill with another one."),
		}),
		setting.Group("memoryHard", setting.Table{
			setting.Bool("enabled", &s.MemoryHard.Enabled, "The rule `memoryHard`: code like that of argon2, yescrypt and "+
				"their kin in memory that is used again. By itself it only observes, but it is a likely sign. Servers that check passwords can match."),
		}),
		setting.Group("learned", setting.Table{
			setting.Bool("enabled", &s.Learned.Enabled, "Kill a program at its start if the rule `program` has killed "+
				"a process of the same file before."),
			setting.Duration("expireAfter", &s.Learned.ExpireAfter, time.Minute, 30*24*time.Hour, "Time without a start of "+
				"such a file after which it is forgotten."),
		}),
		setting.Group("report", setting.Table{
			setting.Int("cpuHours", &s.Report.CPUHours, 0, 100_000, "CPU-hours after which a container is logged that computes "+
				"and moves very little, once a day. It is never killed for that. 0 is for no such lines."),
		}),
	}
}

// IsEnabled implements detector.Section.
func (s *Settings) IsEnabled() bool { return s.Enabled }

// Risks calls warn for each valid setting with which legitimate programs are more likely to
// be killed. Keys are within the section.
func (s *Settings) Risks(warn func(key, why string)) {
	if usual := Defaults().Program.MinShare; s.Action == rules.Kill && s.Program.Enabled && s.Program.MinShare < usual/2 {
		warn("program.minShare", fmt.Sprintf("%v is less than half of the default, %v: legitimate programs are more likely to be killed", s.Program.MinShare, usual))
	}
}

// interval returns the number of samples after which a process is examined.
func (s *Settings) interval() int {
	return max(minOwnSamples, int(s.Program.CPUTime.Seconds()*float64(s.SampleRate)))
}
