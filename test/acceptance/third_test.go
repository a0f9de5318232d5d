package acceptance

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/testutil"
	"github.com/cryptnono/cryptnono/test/agenttest"
)

const (
	detectorList = "../../internal/detectors/detectors.go"
	thirdPackage = "internal/detector/example"
)

// withThird builds the program with the detector example, which needs an entry and an import in
// the list of detectors and no other change.
func withThird(t *testing.T) (program string) {
	t.Helper()
	testutil.Privileged(t)
	text, err := os.ReadFile(detectorList)
	if err != nil {
		t.Fatal(err)
	}
	const last, imports = "monero.Kind(),", "import ("
	list := strings.Replace(string(text), last, last+"\n\t\texample.Kind(),", 1)
	list = strings.Replace(list, imports, imports+"\n\t\"github.com/cryptnono/cryptnono/"+thirdPackage+"\"", 1)
	dir := t.TempDir()
	replaced := filepath.Join(dir, "detectors.go")
	path, err := filepath.Abs(detectorList)
	if err == nil {
		err = os.WriteFile(replaced, []byte(list), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "cryptnono")
	build := exec.Command("go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-ldflags=-s -w", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, "../../cmd/cryptnono")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// The detector has settings, doctor, metrics, log, exemptions, reload and readiness without
// changes outside its folder and the list.
func TestAThirdDetectorIsAFolderAndALine(t *testing.T) {
	program := withThird(t)
	name := "third-" + agenttest.NewWord()[:8]
	victim := filepath.Join(t.TempDir(), name)
	text, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(victim, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]any{"example": map[string]any{"enabled": true, "names": []string{name}}}
	a := agenttest.Start(t, agenttest.Options{Program: program, Settings: settings, Rules: agenttest.Rules{Strings: []string{agenttest.NewWord()}}})
	cmd := exec.Command(victim)
	if err := cmd.Run(); err == nil {
		t.Error("it is not killed")
	}
	if l := a.Verdict(t, "killed", cmd.Process.Pid); l.Detector != "example" || l.Matched != name {
		t.Errorf("got the line %s", l.Raw)
	}
	m := a.Metrics(t)
	for series, want := range map[string]float64{
		`cryptnono_detector_up{detector="example"}`:                                  1,
		`cryptnono_verdicts_total{action="killed",detector="example",source="exec"}`: 1,
		`cryptnono_events_lost_total{detector="example"}`:                            0,
	} {
		if n, there := m[series]; !there || n != want {
			t.Errorf("%s is %v, %v", series, n, there)
		}
	}
	settings["example"] = map[string]any{"enabled": true, "names": []string{name}, "action": "observe"}
	a.Set(t, settings)
	a.Reload(t)
	if err := exec.Command(victim).Run(); err != nil {
		t.Errorf("killed although it is only to be observed: %v", err)
	}

	out, err := exec.Command(program, "doctor").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "example") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	wrong := agenttest.WriteJSON(t, "wrong.json", map[string]any{"example": map[string]any{"names": []string{"", "x"}}})
	out, err = exec.Command(program, "run", "--config", wrong).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "wrong.json:1: example.names[0]") {
		t.Errorf("wrong settings: %v\n%s", err, out)
	}
}
