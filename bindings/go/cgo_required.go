//go:build !cgo || windows

package dcb

// This is the first error of a build that cannot work. It stands in a file that sorts before the others,
// in a type, since the compiler reports the errors of types first.
type _ ["package dcb calls the C library libdcb through cgo: build for Linux or another Unix, with CGO_ENABLED=1, a C compiler for that system, and libdcb installed where pkg-config finds it"]int
