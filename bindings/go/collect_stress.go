//go:build dcb_gcstress

package dcb

import "runtime"

// collect runs the garbage collector around every call of the library, which brings to light what
// was freed too early.
func collect() { runtime.GC() }
