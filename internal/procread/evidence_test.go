package procread

import "testing"

func TestReadsForEvidenceLeaveHalfAsManyChildrenBehind(t *testing.T) {
	for _, c := range []struct {
		name          string
		all, own      int
		files, memory bool // may hang
	}{
		{"x", maxFilesLeftBehind - 1, maxFilesLeftBehindByOwner - 1, false, false},
		{"x", maxFilesLeftBehind, 0, true, false},
		{ForEvidence("x"), maxFilesLeftBehind/2 - 1, 0, false, false},
		{ForEvidence("x"), maxFilesLeftBehind / 2, 0, true, false},
		{ForEvidence("x"), 1, maxFilesLeftBehindByOwner / 2, true, false},
		{ForEvidence("x"), maxLeftBehind / 2, 0, true, true},
	} {
		p := &pool{stats: Stats{LeftBehind: c.all}}
		if files, memory := p.mayHang(&owner{name: c.name, leftBehind: c.own}); files != c.files || memory != c.memory {
			t.Errorf("%+v: files %v, memory %v", c, files, memory)
		}
	}
}
