/*
 * Replaces MRI's start of the program, which runs it under Asyncify. Defines isatty, since wasi-libc's takes every
 * character device for a terminal, /dev/null included.
 */
#include <termios.h>
#include <unistd.h>

int
isatty(int fd)
{
    struct winsize size;

    return ioctl(fd, TIOCGWINSZ, &size) == 0;
}
