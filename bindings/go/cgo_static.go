//go:build dcb_static

package dcb

// The static library stands before what pkg-config says, which names the shared one as well:
// with nothing left for that to resolve, the linker drops it.

// #cgo LDFLAGS: -Wl,--as-needed -l:libdcb.a
// #cgo pkg-config: --static dcb
import "C"
