package process

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// statTail is the line after the name, of a user's process with parent 17 and 3 threads,
// start time 42.5 s, 300 page faults without and 4 with input, CPU times 1.25 s (user mode) and
// 0.25 s (kernel), and stack 140000.
const statTail = " S 17 17 17 0 -1 4194560 300 70 4 70 125 25 0 0 20 0 3 0 4250 0 0 0 0 0 140000"

func TestStatLines(t *testing.T) {
	user := stat{comm: "sh", ppid: 17, start: 42500 * time.Millisecond, cpu: 1500 * time.Millisecond,
		faults: 304, threads: 3, Layout: Layout{Stack: 140000}}
	named := func(name string) stat { s := user; s.comm = name; return s }
	zombie, kernelThread := user, user
	zombie.zombie, kernelThread.kernelThread = true, true
	for name, c := range map[string]struct {
		line string
		want stat
	}{
		"a process":               {"1 (sh)" + statTail, user},
		"with more fields":        {"1 (sh)" + statTail + " 1 2 3\n", user},
		"a name with parentheses": {"1 (a) R 1 (b)" + statTail, named("a) R 1 (b")},
		"a name of many lines":    {"1 (a\n1 (sh) S 1\n)" + statTail, named("a\n1 (sh) S 1\n")},
		"no name":                 {"1 ()" + statTail, named("")},
		"a zombie":                {"1 (sh)" + strings.Replace(statTail, "S", "Z", 1), zombie},
		"a kernel thread":         {"1 (sh)" + strings.Replace(statTail, "4194560", "2129984", 1), kernelThread},
	} {
		if got, err := parseStat([]byte(c.line)); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for name, line := range map[string]string{
		"an empty line":         "",
		"no parentheses":        "1 sh" + statTail,
		"swapped parentheses":   "1 )sh(" + statTail,
		"too few fields":        "1 (sh) S 17",
		"an invalid parent":     "1 (sh)" + strings.Replace(statTail, "17", "x", 1),
		"invalid faults":        "1 (sh)" + strings.Replace(statTail, "300", "-1", 1),
		"more faults":           "1 (sh)" + strings.Replace(statTail, " 4 ", " x ", 1),
		"an invalid start time": "1 (sh)" + strings.Replace(statTail, "4250", "18446744073709551615", 1),
	} {
		if got, err := parseStat([]byte(line)); err == nil {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestUserIDs(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		want   uint32
	}{
		"the first is the real one": {"Name:\tsh\nUid:\t1000\t0\t0\t0\nGid:\t7\t7\t7\t7\n", 1000},
		"the greatest":              {"Name:\tsh\nUid:\t4294967294\t0\t0\t0\n", 4294967294},
		"a name like the line":      {"Name:\tUid:\t7\t\nUid:\t1000\t0\t0\t0\n", 1000},
	} {
		if got, err := parseUID([]byte(c.status)); err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, c.want)
		}
	}
	for _, status := range []string{"", "Name:\tsh\n", "\nUid:\t", "\nUid:\t-1\t", "\nUid:\t4294967296\t"} {
		if got, err := parseUID([]byte(status)); err == nil {
			t.Errorf("%q: got %d", status, got)
		}
	}
}

func FuzzProc(f *testing.F) {
	f.Add("1 (a) R 1 (b\n)" + statTail)
	f.Add("1 )(")
	f.Add("Name:\ta\nUid:\t1\t1\t1\t1\n")
	f.Fuzz(func(t *testing.T, file string) {
		if s, err := parseStat([]byte(file)); err == nil && (s.start < 0 || s.cpu < 0 || !strings.Contains(file, s.comm)) {
			t.Errorf("%+v", s)
		}
		if uid, err := parseUID([]byte(file)); err == nil && !strings.Contains(file, strconv.Itoa(int(uid))) {
			t.Errorf("user %d", uid)
		}
	})
}
