//go:build dcb_gcstress

package dcb

import "runtime"

// stressGC runs the garbage collector around every call of the library, so that a test fails where
// memory is freed too early.
func stressGC() { runtime.GC() }
