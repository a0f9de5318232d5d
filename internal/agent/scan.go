package agent

import (
	"context"
	"errors"
	"io/fs"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Scan checks all running processes once, with each detector that supports it. Without
// privileges and with the action observe, it reports the caller's own processes and
// ignores exemptions.
func (a *Agent) Scan(ctx context.Context) (err error) {
	a.Policy.warn(a.Log)
	s, err := a.load(a.Log)
	if errors.Is(err, fs.ErrPermission) && a.Policy.Action == rules.Observe {
		judge := &verdict.Judge{
			Report: report.New(a.Verdicts, a.Policy.NodeName, nil), Reader: procread.NewReader(a.Log), Log: a.Log,
		}
		return errors.Join(a.scan(ctx, detector.Env{Judge: judge, Log: a.Log}), judge.Reader.Close())
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	endReports := s.startReports(ctx)
	err = a.scan(ctx, s.Env)
	return errors.Join(err, endReports())
}

func (a *Agent) scan(ctx context.Context, e detector.Env) error {
	var errs []error
	for _, k := range a.Kinds {
		if k.Scan != nil {
			errs = append(errs, k.Scan(ctx, e, a.Policy.forDetector(k)))
		}
	}
	return errors.Join(errs...)
}
