package projector_test

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"
)

// The example, which docs/projections.md quotes, prints what it says.
func TestDriversProjectorExample(t *testing.T) {
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(source), "// It prints:\n")
	var want []string
	for line := range strings.Lines(after) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "// "); ok {
			want = append(want, text)
		}
	}
	stdout := os.Stdout
	defer func() { os.Stdout = stdout }()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = write
	ExampleProjector() // what it prints fits into the pipe
	write.Close()
	var got []string
	for lines := bufio.NewScanner(read); lines.Scan(); {
		got = append(got, lines.Text())
	}
	if len(want) != 5 || !slices.Equal(got, want) {
		t.Errorf("it prints %q, want %q", got, want)
	}
}
