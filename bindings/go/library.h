// The header of libdcb, if it is one that this package can use.
//
// Go's build cache looks neither at the header nor at the library, so a program might be built with
// an old one after an update. This cannot happen when the update is one of this package: the
// package is then compiled again, and refuses a header that is older than the version written here.
// The library that is loaded is checked when a store is opened: see library.go.
#ifndef DCB_GO_LIBRARY_H
#define DCB_GO_LIBRARY_H

#include <dcb.h>

// The oldest libdcb that has what this package calls: the release that it belongs to.
#define DCB_GO_NEEDS_MAJOR 0
#define DCB_GO_NEEDS_MINOR 1
#define DCB_GO_NEEDS_PATCH 0
#define DCB_GO_NEEDS_ABI 0

#define DCB_GO_VERSION(major, minor, patch) ((major)*1000000 + (minor)*1000 + (patch))

#if DCB_GO_VERSION(DCB_VERSION_MAJOR, DCB_VERSION_MINOR, DCB_VERSION_PATCH) <                      \
    DCB_GO_VERSION(DCB_GO_NEEDS_MAJOR, DCB_GO_NEEDS_MINOR, DCB_GO_NEEDS_PATCH)
#error                                                                                             \
    "the dcb.h that pkg-config finds is older than this package dcb: install the libdcb of its release"
#elif DCB_ABI_VERSION != DCB_GO_NEEDS_ABI
#error                                                                                             \
    "the dcb.h that pkg-config finds has another ABI than this package dcb: use the package of its release"
#endif

#endif
