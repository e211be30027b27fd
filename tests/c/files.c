/* The statuses that a file brings about. */
#include "check.h"

const test file_tests[] = {
    {NULL, NULL},
};
