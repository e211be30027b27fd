//go:build !dcb_static

package dcb

// #cgo pkg-config: dcb
import "C"
