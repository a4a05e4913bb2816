/*
 * Replaces MRI's start of the program, which runs it under Asyncify. Defines the functions for terminals that wasi-libc
 * lacks and io/console needs; no descriptor of a dyno is a terminal.
 */
#include <errno.h>
#include <termios.h>

int tcgetattr(int fd, struct termios *t) { errno = ENOTTY; return -1; }
int tcsetattr(int fd, int when, const struct termios *t) { errno = ENOTTY; return -1; }
int tcflush(int fd, int queue) { errno = ENOTTY; return -1; }
int tcdrain(int fd) { errno = ENOTTY; return -1; }
