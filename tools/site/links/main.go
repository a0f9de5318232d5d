// Links checks the links of the built site, without network: links DIR BASE REPOSITORY. DIR has
// the pages, which are served at the URL BASE. Each link and picture inside of the site leads to a
// file, and its fragment to an element with that id. A link to a file of the repository, on
// GitHub, leads to a file of this checkout. Other links are only counted.
package main

import (
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/net/html"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: links DIR BASE REPOSITORY")
		os.Exit(2)
	}
	s := site{dir: os.Args[1], base: os.Args[2], repository: os.Args[3], pages: make(map[string]page), stderr: os.Stderr}
	if err := s.check(); err != nil {
		fmt.Fprintln(os.Stderr, "links:", err)
		os.Exit(1)
	}
}

// A page has what its elements say.
type page struct {
	ids   map[string]bool
	links []string
}

type site struct {
	dir, base, repository string

	pages  map[string]page // by file, relative to dir
	stderr io.Writer
}

func (s *site) check() error {
	err := filepath.WalkDir(s.dir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(file) != ".html" {
			return err
		}
		p, err := read(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.dir, file)
		s.pages[name] = p
		return err
	})
	if err != nil {
		return err
	}
	inside, outside, broken := 0, 0, 0
	for name, p := range s.pages {
		own, err := url.Parse(s.base + filepath.ToSlash(strings.TrimSuffix(name, "index.html")))
		if err != nil {
			return err
		}
		for _, link := range p.links {
			to, err := own.Parse(link)
			known := false
			if err == nil {
				known, err = s.leads(to)
			}
			switch {
			case err != nil:
				broken++
				fmt.Fprintf(s.stderr, "%s: %s: %v\n", name, link, err)
			case known:
				inside++
			default:
				outside++
			}
		}
	}
	fmt.Printf("%d pages, %d links inside, %d to others, %d broken\n", len(s.pages), inside, outside, broken)
	switch {
	case len(s.pages) == 0:
		return fmt.Errorf("no page in %s", s.dir)
	case broken > 0:
		return fmt.Errorf("%d broken links", broken)
	}
	return nil
}

// leads says whether a link is one that can be checked, and what is wrong with it.
func (s *site) leads(to *url.URL) (known bool, err error) {
	fragment := to.Fragment
	address := *to
	address.Fragment, address.RawFragment = "", ""
	if file, ok := strings.CutPrefix(address.String(), s.repository+"/blob/main/"); ok {
		_, err := os.Stat(filepath.FromSlash(file))
		return true, err
	}
	file, ok := strings.CutPrefix(address.String(), s.base)
	if !ok {
		return false, nil
	}
	if file == "" || strings.HasSuffix(file, "/") {
		file += "index.html"
	}
	file = filepath.FromSlash(file)
	if p, ok := s.pages[file]; ok {
		if fragment != "" && !p.ids[fragment] {
			return true, fmt.Errorf("%s has no #%s", file, fragment)
		}
		return true, nil
	}
	_, err = os.Stat(filepath.Join(s.dir, file))
	return true, err
}

func read(file string) (page, error) {
	f, err := os.Open(file)
	if err != nil {
		return page{}, err
	}
	defer f.Close()
	root, err := html.Parse(f)
	if err != nil {
		return page{}, fmt.Errorf("%s: %w", file, err)
	}
	p := page{ids: make(map[string]bool)}
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			switch a.Key {
			case "id":
				p.ids[a.Val] = true
			case "href", "src":
				p.links = append(p.links, a.Val)
			}
		}
	}
	return p, nil
}
