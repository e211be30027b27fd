//go:build !dcb_gcstress

package dcb

// stressGC is called around every call of the library. It does nothing, unless the package is built
// with the tag dcb_gcstress: see gcstress_on.go.
func stressGC() {}
