package chart

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/cryptnono/cryptnono/internal/detectors"
)

// A dashboard is Grafana's file.
type dashboard struct {
	Panels []struct {
		ID                       int
		Type, Title, Description string
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct{ Expr, Interval, LegendFormat string }
		FieldConfig              struct {
			Defaults struct {
				Unit   string
				Custom struct{ DrawStyle string }
			}
		}
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, chartDir+"/dashboards/cryptnono.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestEveryPanelOfTheDashboardSaysWhatItShowsInItsPlace(t *testing.T) {
	dashboard := readDashboard(t)
	type cell struct{ x, y int }
	taken := make(map[cell]string)
	ids := make(map[int]bool)
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("%s has the id %d of another", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Title == "" || p.Type != "row" && p.Description == "" {
			t.Errorf("panel %d, %q, is not described", p.ID, p.Title)
		}
		if row := p.Type == "row"; row != (len(p.Targets) == 0) || row && p.GridPos.W != 24 {
			t.Errorf("panel %d, %q, is a row with queries, or asks nothing", p.ID, p.Title)
		}
		g := p.GridPos
		if g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%s is out of the grid: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other := taken[cell{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", p.Title, other)
				}
				taken[cell{x, y}] = p.Title
			}
		}
	}
}

// A new detector has its alerts and panels without a change here: what all detectors have
// is queried from the metrics that they share.
func TestAlertsAndPanelsOfAllDetectorsNameNone(t *testing.T) {
	shared := regexp.MustCompile(`_processes_(killed|observed|limited|exempt|missed)_total`)
	for _, a := range alerts(t) {
		if shared.MatchString(a.Expr) {
			t.Errorf("%s: %s is of one detector, and cryptnono_verdicts_total of all", a.Alert, a.Expr)
		}
	}
	row := ""
	for _, p := range readDashboard(t).Panels {
		if p.Type == "row" {
			row = p.Title
		}
		for _, k := range detectors.All() {
			for _, target := range p.Targets {
				if row != k.Name && strings.Contains(target.Expr, k.Name) {
					t.Errorf("%s, in the row %s, names the detector %s: %s", p.Title, row, k.Name, target.Expr)
				}
			}
		}
	}
}
