//go:build !dcb_static

package dcb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// run runs a command and returns what it prints, and whether it succeeded.
func run(t *testing.T, environment []string, name string, arguments ...string) (output string, ok bool) {
	t.Helper()
	command := exec.Command(name, arguments...)
	command.Env = append(os.Environ(), environment...)
	text, err := command.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return string(text), err == nil
}

func TestTheLibraryIsCompatible(t *testing.T) {
	if err := checkLibrary(); err != nil {
		t.Error(err)
	}
	for _, test := range []struct {
		version string
		abi     int
		want    string
	}{
		{Version(), 0, ""},
		{"99.0.0", 0, ""},
		{"0.999.0", 0, ""},
		{"0.0.999", 0, "libdcb 0.0.999 is loaded; the program was built for libdcb "},
		{"", 0, "libdcb  is loaded; the program was built for libdcb "},
		{Version(), 7, "which has ABI version 7; the program was built for ABI version 0"},
	} {
		err := compatible(test.version, test.abi)
		if (err == nil) != (test.want == "") || err != nil && (!errors.Is(err, ErrInternal) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q, %d: %v", test.version, test.abi, err)
		}
	}
}

// TestOpenWithTheLoadedLibrary is run by TestAnOlderLibraryIsNotUsed in processes of its own.
func TestOpenWithTheLoadedLibrary(t *testing.T) {
	if os.Getenv("DCB_TEST_LIBRARY") == "" {
		t.Skip("of TestAnOlderLibraryIsNotUsed")
	}
	_, err := Open("memory:")
	fmt.Println("Open:", err)
	_, err = OpenDB(nil)
	fmt.Println("OpenDB:", err)
}

// An older library that is loaded instead of the one that the program was built for is rejected.
func TestAnOlderLibraryIsNotUsed(t *testing.T) {
	folder := t.TempDir()
	source := filepath.Join(folder, "old.c")
	text := "#include <stdint.h>\nconst char *dcb_version(void) { return VERSION; }\nuint32_t dcb_abi_version(void) { return ABI; }\n"
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	compiler, ok := run(t, nil, "go", "env", "CC")
	if !ok {
		t.Fatal(compiler)
	}
	for _, test := range []struct{ version, abi, want string }{
		{"0.0.9", "0", "libdcb 0.0.9 is loaded; the program was built for libdcb " + Version()},
		{"9.0.0", "1", "libdcb 9.0.0 is loaded, which has ABI version 1"},
		{"0.999.0", "0", ""},
	} {
		library := filepath.Join(folder, "libold-"+test.version+".so")
		arguments := []string{"-shared", "-fPIC", "-o", library, `-DVERSION="` + test.version + `"`, "-DABI=" + test.abi, source}
		if output, ok := run(t, nil, strings.TrimSpace(compiler), arguments...); !ok {
			t.Fatal(output)
		}
		output, _ := run(t, []string{"LD_PRELOAD=" + library, "DCB_TEST_LIBRARY=1"}, os.Args[0], "-test.run=^TestOpenWithTheLoadedLibrary$")
		for _, call := range []string{"Open", "OpenDB"} {
			want := call + ": dcb: internal: " + test.want
			if test.want == "" {
				want = map[string]string{"Open": "Open: <nil>", "OpenDB": "OpenDB: dcb: invalid_argument: db: must not be nil"}[call]
			}
			if !strings.Contains(output, want) {
				t.Errorf("%s: %s", test.version, output)
			}
		}
	}
}

// The header of an older library does not compile, and the compiler's output says why.
func TestAnOlderHeaderIsRefused(t *testing.T) {
	header, err := os.ReadFile("../../include/dcb.h")
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ from, to, want string }{
		{"#define DCB_VERSION_MINOR ", "#define DCB_VERSION_MINOR 0 //", "is older than this package dcb: install the libdcb of its release"},
		{"#define DCB_ABI_VERSION ", "#define DCB_ABI_VERSION 7 //", "has another ABI than this package dcb"},
	} {
		folder := t.TempDir()
		other := strings.Replace(string(header), test.from, test.to, 1)
		if other == string(header) {
			t.Fatalf("the header has no %q", test.from)
		}
		pc := "Name: dcb\nDescription: old\nVersion: 0\nCflags: -I" + folder + "\n"
		for name, content := range map[string]string{"dcb.h": other, "dcb.pc": pc} {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// The flags differ from those of other builds, since Go's cache does not see that the header does.
		environment := []string{"PKG_CONFIG_PATH=" + folder, fmt.Sprintf("CGO_CFLAGS=-DDCB_TEST_HEADER=%d%d", os.Getpid(), i)}
		output, ok := run(t, environment, "go", "build", ".")
		if ok || !strings.Contains(output, test.want) {
			t.Errorf("%t: %s", ok, output)
		}
	}
}

// A build without cgo, or for a system that libdcb does not support, says what it needs.
func TestABuildWithoutCgoSaysWhatItNeeds(t *testing.T) {
	output, ok := run(t, []string{"CGO_ENABLED=0"}, "go", "build", ".")
	_, errors, _ := strings.Cut(output, "\n") // after the name of the package
	first, _, _ := strings.Cut(errors, "\n")
	if ok || !strings.Contains(first, "through cgo: build for Linux or another Unix, with CGO_ENABLED=1") {
		t.Errorf("%t: %s", ok, output)
	}
	for _, test := range []struct {
		system, cgo string
		has         bool
	}{{"windows", "0", true}, {"windows", "1", true}, {"darwin", "0", true}, {"linux", "1", false}} {
		files, ok := run(t, []string{"GOOS=" + test.system, "CGO_ENABLED=" + test.cgo}, "go", "list", "-f", "{{.GoFiles}}", ".")
		if !ok || strings.Contains(files, "cgo_required.go") != test.has {
			t.Errorf("%+v: %s", test, files)
		}
	}
}
