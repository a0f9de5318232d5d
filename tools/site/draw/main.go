// Draw writes the picture of a graph in Graphviz's language: draw FILE.dot FILE.svg.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"github.com/goccy/go-graphviz"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: draw FILE.dot FILE.svg")
		os.Exit(2)
	}
	if err := draw(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

func draw(ctx context.Context, source, picture string) error {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	graph, err := graphviz.ParseBytes(text)
	if err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	g, err := graphviz.New(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	var svg bytes.Buffer
	if err := g.Render(ctx, graph, graphviz.SVG, &svg); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	return os.WriteFile(picture, svg.Bytes(), 0o644)
}
