/* wasi-libc's unistd.h, and functions that it leaves out. */
#ifndef CORUNDUM_UNISTD_H
#define CORUNDUM_UNISTD_H

#include_next <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
int pipe(int[2]);
int pipe2(int[2], int);
int gethostname(char *, size_t);
#ifdef __cplusplus
}
#endif
#endif
