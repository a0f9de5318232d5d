package hashwork

import (
	"fmt"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/cryptnono/cryptnono/internal/detector/hashwork/learned"
	"github.com/cryptnono/cryptnono/internal/fair"
	"github.com/cryptnono/cryptnono/internal/process"
	"github.com/cryptnono/cryptnono/internal/procread"
	"github.com/cryptnono/cryptnono/internal/testutil"
)

// emptyFiles returns a table with the maps of the kernel program.
func emptyFiles(t testing.TB) *learnedFiles {
	t.Helper()
	testutil.Privileged(t)
	spec, err := loadLearned()
	if err != nil {
		t.Fatal(err)
	}
	var maps [2]*ebpf.Map
	for i, name := range []string{learnedMapLearnedFiles, learnedMapLearnedCount} {
		if maps[i], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { maps[i].Close() })
	}
	l := newLearnedFiles(maps[0], maps[1], nil)
	if err := l.apply(24 * time.Hour); err != nil {
		t.Fatal(err)
	}
	return l
}

func fileOf(uid uint32, inode uint64) *learnedFile {
	return &learnedFile{
		content: fileContent{id: process.FileID{Inode: inode}, size: 100, modified: 7},
		owner:   fair.Owner{UID: uid, Cgroup: uint64(uid)}, about: learned.File{UID: uid, Inode: inode},
	}
}

// isConsistent checks that the kernel has the files of the table, and their number.
func isConsistent(t *testing.T, l *learnedFiles) int {
	t.Helper()
	all, err := l.Files() // which looks each of them up in the kernel
	if err != nil {
		t.Fatal(err)
	}
	inKernel := 0
	var id learnedFileId
	var raw learnedLearnedFile
	for it := l.kernel.Iterate(); it.Next(&id, &raw); {
		inKernel++
	}
	var count uint32
	if err := l.count.Lookup(uint32(0), &count); err != nil || int(count) != len(all) || inKernel != len(all) {
		t.Errorf("%d files, %d in the kernel, which counts %d, %v", len(all), inKernel, count, err)
	}
	return len(all)
}

func TestAFullTableOfLearnedFilesForgetsThoseOfWhoHasTheMost(t *testing.T) {
	l := emptyFiles(t)
	add := func(f *learnedFile) {
		t.Helper()
		if err := l.add(f); err != nil {
			t.Fatal(err)
		}
	}
	const others = 20
	for i := range uint64(others) {
		add(fileOf(uint32(i), i+1))
	}
	const many = 2 * maxLearned
	for i := range uint64(many) {
		add(fileOf(1000, 1000+i))
		if i%512 == 0 {
			if n := isConsistent(t, l); n > maxLearned {
				t.Fatalf("%d files", n)
			}
		}
	}
	left := make(map[uint32]int)
	newest := uint64(0)
	all, err := l.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		left[f.UID]++
		newest = max(newest, f.Inode)
	}
	if len(left) != others+1 || newest != 1000+many-1 || isConsistent(t, l) < maxLearned/2 {
		t.Errorf("left are files of %d users, the newest is %d", len(left), newest)
	}
	if now, ever := l.counts(); now != len(all) || ever != others+many {
		t.Errorf("counted %d, %d", now, ever)
	}
}

func TestANewContentOfALearnedFileReplacesTheOld(t *testing.T) {
	l := emptyFiles(t)
	for size := range uint64(3) {
		f := fileOf(1, 1)
		f.content.size = size
		if err := l.add(f); err != nil {
			t.Fatal(err)
		}
	}
	if n := isConsistent(t, l); n != 1 {
		t.Errorf("%d files", n)
	}
	var raw learnedLearnedFile
	if err := l.kernel.Lookup(learnedFileId{Inode: 1}, &raw); err != nil || raw.Size != 2 || raw.Number != 3 {
		t.Errorf("%+v, %v", raw, err)
	}
	if err := l.apply(0); err != nil || isConsistent(t, l) != 0 {
		t.Errorf("without the setting: %v", err)
	}
	if err := l.add(fileOf(1, 2)); err != nil || isConsistent(t, l) != 0 {
		t.Errorf("learned without the setting: %v", err)
	}
}

// What was searched must be the program, so that no process can have a shell learned.
func TestAnotherFileThanTheOneThatWasSearchedIsNotLearned(t *testing.T) {
	program := programFile{
		shown:   process.FileID{Inode: 5, Device: 8<<20 | 300},
		content: fileContent{process.FileID{Inode: 6, Generation: 1}, 100, 7}, changed: 9, magic: unix.EXT4_SUPER_MAGIC,
	}
	same := procread.FileID{Device: unix.Mkdev(8, 300), Inode: 5, Size: 100, Modified: 7, Changed: 9}
	if !program.isThat(same) {
		t.Error("the same is not learned")
	}
	for i, change := range []func(*procread.FileID){
		func(f *procread.FileID) { f.Device = unix.Mkdev(8, 301) },
		func(f *procread.FileID) { f.Inode = 6 },
		func(f *procread.FileID) { f.Size++ },
		func(f *procread.FileID) { f.Modified++ },
		func(f *procread.FileID) { f.Changed++ }, // a copy by overlayfs
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			other := same
			if change(&other); program.isThat(other) {
				t.Errorf("%+v is learned", other)
			}
		})
	}
	for name, change := range map[string]func(*programFile){
		"of a server in user space":      func(f *programFile) { f.magic = unix.FUSE_SUPER_MAGIC },
		"on a user's overlayfs":          func(f *programFile) { f.ofUser = true },
		"whose number has no generation": func(f *programFile) { f.content.id.Generation = 0 },
	} {
		other := program
		if change(&other); other.isThat(same) {
			t.Errorf("a file %s is learned", name)
		}
	}
}

// BenchmarkExecWithLearnedFiles measures what an exec costs in the kernel program.
func BenchmarkExecWithLearnedFiles(b *testing.B) {
	for _, n := range []int{0, 1, maxLearned} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchExec(b, n) })
	}
}
