package agent

import (
	"context"
	"errors"
	"io/fs"

	"github.com/cryptnono/cryptnono/internal/detector"
	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
	"github.com/cryptnono/cryptnono/internal/verdict"
)

// Scan looks once at all running processes, and acts on what the rules find. Whoever
// has no rights may observe his own processes, whatever their containers are.
func (a *Agent) Scan(ctx context.Context) (err error) {
	a.Policy.warn(a.Log)
	o := execwhacker.Options{Policy: execwhacker.Policy{Matcher: a.Policy.Matcher, LogEnv: a.Policy.LogEnv}}
	s, err := a.load(a.Log)
	if errors.Is(err, fs.ErrPermission) && a.Policy.Action == rules.Observe {
		judge := &verdict.Judge{
			Report: report.New(a.Verdicts, a.Policy.NodeName, nil), Reader: procread.NewReader(a.Log), Log: a.Log,
		}
		o.Env = detector.Env{Judge: judge, Log: a.Log}
		return errors.Join(execwhacker.Scan(ctx, o), judge.Reader.Close())
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	endReports := s.startReports(ctx)
	o.Env = s.Env
	err = execwhacker.Scan(ctx, o)
	return errors.Join(err, endReports())
}
