package chart

import (
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

const (
	recording   = "testdata/dashboard.series"
	scrapeEvery = 3 * time.Second
)

// The picture has the numbers of the dashboard, and each panel with a line that is not always 0.
func TestThePictureIsWhatThePanelsShowOfTheRecording(t *testing.T) {
	p := readRecording(t)
	var shown []panel
	for _, of := range readDashboard(t).Panels {
		drawn := panel{title: of.Title, unit: of.FieldConfig.Defaults.Unit, bars: of.FieldConfig.Defaults.Custom.DrawStyle == "bars"}
		some := false
		for _, target := range of.Targets {
			switch of.Type {
			case "stat":
				drawn.number, some = p.now(t, target.Expr), true
			case "timeseries":
				for _, l := range p.over(t, target.Expr, target.LegendFormat) {
					if some = some || l.most() > 0; l.most() > 0 || !drawn.bars {
						drawn.lines = append(drawn.lines, l)
					}
				}
			}
		}
		if some {
			shown = append(shown, drawn)
		}
	}
	if len(shown) < 16 {
		t.Errorf("only %d panels", len(shown))
	}
	const file = "../../docs/dashboard.svg"
	svg := draw(shown, p.length())
	if *update {
		if err := os.WriteFile(file, svg, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != string(svg) {
		t.Errorf("%s is not what dashboard and recording give: go test -run ThePictureIs -update", file)
	}
}

// A prometheus evaluates queries on recorded series, with Prometheus' engine.
type prometheus []promql.Series

// readRecording reads series in the notation of Prometheus' own tests, one a line.
func readRecording(t *testing.T) (p prometheus) {
	t.Helper()
	for l := range strings.Lines(read(t, recording)) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		name, values, err := parser.ParseSeriesDesc(l)
		if err != nil {
			t.Fatalf("%s: %v", recording, err)
		}
		s := promql.Series{Metric: name}
		for i, v := range values {
			if !v.Omitted {
				s.Floats = append(s.Floats, promql.FPoint{T: int64(i) * scrapeEvery.Milliseconds(), F: v.Value})
			}
		}
		p = append(p, s)
	}
	return p
}

// length is the time of the last scrape; that of the first is 0.
func (p prometheus) length() time.Duration {
	var last int64
	for _, s := range p {
		last = max(last, s.Floats[len(s.Floats)-1].T)
	}
	return time.Duration(last) * time.Millisecond
}

// Querier implements storage.Queryable.
func (p prometheus) Querier(int64, int64) (storage.Querier, error) {
	return &storage.MockQuerier{SelectMockFunction: func(_ bool, _ *storage.SelectHints, asked ...*labels.Matcher) storage.SeriesSet {
		var found seriesSet
		for _, s := range p {
			if labels.Selector(asked).Matches(s.Metric) {
				found.left = append(found.left, promql.NewStorageSeries(s))
			}
		}
		return &found
	}}, nil
}

// A seriesSet is a storage.SeriesSet.
type seriesSet struct {
	at   storage.Series
	left []storage.Series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.at, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series              { return s.at }
func (*seriesSet) Err() error                        { return nil }
func (*seriesSet) Warnings() annotations.Annotations { return nil }

// query evaluates a query between two times, one in each step. Grafana's variables have the values
// that they have where Prometheus scrapes so often.
func (p prometheus) query(t *testing.T, expr string, from time.Duration) promql.Matrix {
	t.Helper()
	expr = strings.NewReplacer("$__range", p.length().String(), "$__rate_interval", (4 * scrapeEvery).String(), "$node", ".*").Replace(expr)
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	q, err := engine.NewRangeQuery(t.Context(), p, nil, expr, time.UnixMilli(from.Milliseconds()), time.UnixMilli(p.length().Milliseconds()), scrapeEvery)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	defer q.Close()
	m, err := q.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return append(promql.Matrix(nil), m...)
}

// now is the only value of a query at the last scrape.
func (p prometheus) now(t *testing.T, expr string) float64 {
	t.Helper()
	m := p.query(t, expr, p.length())
	if len(m) != 1 || len(m[0].Floats) != 1 {
		t.Fatalf("%s: %v", expr, m)
	}
	return m[0].Floats[0].F
}

// over are the values of a query at all scrapes, by series. Legend is how Grafana names a series.
func (p prometheus) over(t *testing.T, expr, legend string) (lines []line) {
	t.Helper()
	label := regexp.MustCompile(`{{\w+}}`)
	for _, s := range p.query(t, expr, 0) {
		l := line{name: label.ReplaceAllStringFunc(legend, func(l string) string { return s.Metric.Get(strings.Trim(l, "{}")) })}
		for range p.length()/scrapeEvery + 1 {
			l.values = append(l.values, math.NaN())
		}
		for _, f := range s.Floats {
			l.values[f.T/scrapeEvery.Milliseconds()] = f.F
		}
		lines = append(lines, l)
	}
	return lines
}
