//go:build dcb_static

package dcb

// The static library comes before the flags of pkg-config, which name the shared library as well. With no
// symbol left for that one to resolve, the linker drops it.

// #cgo LDFLAGS: -Wl,--as-needed -l:libdcb.a
// #cgo pkg-config: --static dcb
import "C"
