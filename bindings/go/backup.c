#include "backup.h"

#include "_cgo_export.h"

static int32_t step(void *context, int64_t done_pages, int64_t total_pages) {
    return dcbGoBackupStep((uintptr_t)context, done_pages, total_pages);
}

dcb_status dcb_go_backup(dcb_store *store, const char *path, const dcb_call *call,
                         uintptr_t progress, int64_t *head, dcb_error *err) {
    return dcb_backup(store, path, call, progress != 0 ? step : NULL, (void *)progress, head, err);
}
