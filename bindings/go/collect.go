//go:build !dcb_gcstress

package dcb

// collect stands around every call of the library; see collect_stress.go.
func collect() {}
