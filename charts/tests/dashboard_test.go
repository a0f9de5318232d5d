package chart

import (
	"encoding/json"
	"testing"
)

func TestEveryPanelOfTheDashboardSaysWhatItShowsInItsPlace(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			ID                       int
			Type, Title, Description string
			GridPos                  struct{ X, Y, W, H int }
		}
	}
	if err := json.Unmarshal([]byte(read(t, chartDir+"/dashboards/cryptnono.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
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
