package agent

import (
	"context"
	"errors"
	"io/fs"

	"github.com/cryptnono/cryptnono/internal/detector/execwhacker"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/report"
	"github.com/cryptnono/cryptnono/internal/rules"
)

// Scan looks once at all running processes, and acts on what the rules find. Whoever
// has no rights may observe his own processes, whatever their containers are.
func (a *Agent) Scan(ctx context.Context) (err error) {
	a.Policy.warn(a.Log)
	o := execwhacker.Options{
		Policy: execwhacker.Policy{Matcher: a.Policy.Matcher, LogEnv: a.Policy.LogEnv},
		Report: report.New(a.Verdicts, a.Policy.NodeName, nil),
		Log:    a.Log,
	}
	s, err := a.load(a.Log)
	if errors.Is(err, fs.ErrPermission) && a.Policy.Action == rules.Observe {
		o.Reader = procread.NewReader(a.Log)
		return errors.Join(execwhacker.Scan(ctx, o), o.Reader.Close())
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	endReports := s.startReports(ctx)
	o.Guard, o.Report, o.Reader = s.guard, s.report, s.reader
	err = execwhacker.Scan(ctx, o)
	return errors.Join(err, endReports())
}
