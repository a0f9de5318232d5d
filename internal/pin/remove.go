package pin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// Keep removes all units but these, and returns what it has removed, relative to the directory. What
// no version of the agent has made stays, and is an error.
func (d *Dir) Keep(units ...string) (removed []string, err error) {
	if d == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("listing pins: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(d.path, e.Name())
		if slices.Contains(units, e.Name()) {
			continue
		}
		if _, errUnit := checkUnit(path); errUnit != nil {
			err = errors.Join(err, errUnit)
			continue
		}
		if err := removeAll(path); err != nil {
			return removed, err
		}
		removed = append(removed, e.Name())
	}
	return removed, err
}

// Remove removes a directory of pins with all that is in it, also while an agent uses it, and
// returns what it has removed: nothing if it is missing. One that is a mount point stays, empty. Then protection ends with the agent, at
// once if there is none. If there is something in it that no version of the agent has made, or if
// others than root may have made it, Remove removes nothing.
func Remove(path string) ([]string, error) {
	if err := checkFS(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f, err := openDir(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	builds := 0
	for _, e := range entries {
		n, errUnit := checkUnit(filepath.Join(f.Name(), e.Name()))
		builds, err = builds+n, errors.Join(err, errUnit)
	}
	if err == nil && builds == 0 && len(entries) > 0 {
		err = errors.New("it has only empty directories")
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a directory of cryptnono's pins, nothing is removed: %w", path, err)
	}
	removed, err := (&Dir{path: f.Name()}).Keep()
	if err == nil {
		err = os.Remove(f.Name())
		// As with ReadWritePaths of systemd: what was pinned is gone, and an empty directory keeps nothing.
		if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EROFS) {
			err = nil
		}
	}
	if err != nil {
		return removed, fmt.Errorf("removing pins: %w", err)
	}
	return removed, nil
}

// What is in the directory of a unit, relative to it.
var (
	buildName = regexp.MustCompile(`^[0-9a-f]{16}$`)
	unitFile  = regexp.MustCompile(`^([0-9a-f]{16}/[^/]+|[^/]+_(slot|program|link|map))$`)
)

// checkUnit checks that a path is that of a unit of any version: a directory with those of builds, in which are
// no directories, and with entries, links and maps of all builds. An empty one is what a crash has left. It returns
// how many builds there are.
func checkUnit(path string) (builds int, err error) {
	files := 0
	err = filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // an agent has removed it
		}
		if err != nil {
			return fmt.Errorf("looking for what is pinned: %w", err)
		}
		in, _ := filepath.Rel(path, name) // it is below
		switch {
		case e.IsDir() && in == ".":
		case e.IsDir() && buildName.MatchString(in):
			builds++
		case e.Type().IsRegular() && unitFile.MatchString(in):
			files++
		default:
			return fmt.Errorf("%s is not cryptnono's", name)
		}
		return nil
	})
	if err == nil && builds == 0 && files > 0 {
		err = fmt.Errorf("%s is not cryptnono's", path)
	}
	return builds, err //nolint:wrapcheck // it says all
}

// removeAll removes a directory. Pins of links go first, so that no program runs that has lost
// what it tells its verdicts to. Directories go last, so that after a crash checkUnit still knows it.
func removeAll(path string) error {
	var links, files, directories []string
	err := filepath.WalkDir(path, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			directories = append(directories, name)
		case isLink(e.Name()):
			links = append(links, name)
		default:
			files = append(files, name)
		}
		return nil
	})
	slices.Reverse(directories) // what is in one before it
	for _, name := range slices.Concat(links, files, directories) {
		if err == nil {
			err = remove(name)
		}
	}
	if err != nil {
		return fmt.Errorf("removing pins: %w", err)
	}
	return nil
}

// remove removes what may be gone.
func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err //nolint:wrapcheck // the caller does
	}
	return nil
}
