// dcb_backup with a progress function in Go.
#ifndef DCB_GO_BACKUP_H
#define DCB_GO_BACKUP_H

#include <dcb.h>
#include <stdint.h>

// progress is the handle of a *backupProgress, 0 for none.
dcb_status dcb_go_backup(dcb_store *store, const char *path, const dcb_call *call,
                         uintptr_t progress, int64_t *head, dcb_error *err);

#endif
