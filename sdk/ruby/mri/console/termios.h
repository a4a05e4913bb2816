/*
 * The terminal of a one-off dyno: termios(3) and the size of the window, with the numbers of Linux.
 *
 * wasi-libc has no terminals. The host implements the line discipline (host/src/terminal); these functions pass the
 * settings on. io/console is the only user, so that a header suffices.
 */
#ifndef DYNO_TERMIOS_H
#define DYNO_TERMIOS_H

#include <errno.h>
#include <stdint.h>
#include <sys/ioctl.h>

typedef uint32_t tcflag_t;
typedef uint8_t cc_t;
typedef uint32_t speed_t;

#define NCCS 19

/* As the kernel has it: the host reads and writes these 36 bytes. */
struct termios {
    tcflag_t c_iflag, c_oflag, c_cflag, c_lflag;
    cc_t c_line;
    cc_t c_cc[NCCS];
};

struct winsize {
    uint16_t ws_row, ws_col, ws_xpixel, ws_ypixel;
};

/* Indices of c_cc. */
#define VINTR 0
#define VQUIT 1
#define VERASE 2
#define VKILL 3
#define VEOF 4
#define VTIME 5
#define VMIN 6
#define VSTART 8
#define VSTOP 9
#define VSUSP 10
#define VEOL 11
#define VREPRINT 12
#define VDISCARD 13
#define VWERASE 14
#define VLNEXT 15
#define VEOL2 16

/* c_iflag */
#define IGNBRK 0000001
#define BRKINT 0000002
#define IGNPAR 0000004
#define PARMRK 0000010
#define INPCK 0000020
#define ISTRIP 0000040
#define INLCR 0000100
#define IGNCR 0000200
#define ICRNL 0000400
#define IXON 0002000
#define IXANY 0004000
#define IXOFF 0010000
#define IMAXBEL 0020000
#define IUTF8 0040000

/* c_oflag */
#define OPOST 0000001
#define ONLCR 0000004

/* c_cflag */
#define CSIZE 0000060
#define CS8 0000060
#define PARENB 0000400

/* c_lflag */
#define ISIG 0000001
#define ICANON 0000002
#define XCASE 0000004
#define ECHO 0000010
#define ECHOE 0000020
#define ECHOK 0000040
#define ECHONL 0000100
#define NOFLSH 0000200
#define TOSTOP 0000400
#define ECHOCTL 0001000
#define ECHOKE 0004000
#define IEXTEN 0100000

/* Actions of tcsetattr and tcflush. */
#define TCSANOW 0
#define TCSADRAIN 1
#define TCSAFLUSH 2
#define TCIFLUSH 0
#define TCOFLUSH 1
#define TCIOFLUSH 2

#define TIOCGWINSZ 0x5413
#define TIOCSWINSZ 0x5414

#define CONSOLE_IMPORT(name) __attribute__((import_module("console"), import_name(#name)))

/* The results are numbers of errno, 0 for success. */
CONSOLE_IMPORT(get_attributes) int console_get_attributes(int fd, struct termios *attributes);
CONSOLE_IMPORT(set_attributes) int console_set_attributes(int fd, int action, const struct termios *attributes);
CONSOLE_IMPORT(get_size) int console_get_size(int fd, struct winsize *size);
CONSOLE_IMPORT(set_size) int console_set_size(int fd, const struct winsize *size);
CONSOLE_IMPORT(flush) int console_flush(int fd, int queue);

static inline int
console_result(int error)
{
    if (error == 0) return 0;
    errno = error;
    return -1;
}

static inline int
tcgetattr(int fd, struct termios *attributes)
{
    return console_result(console_get_attributes(fd, attributes));
}

static inline int
tcsetattr(int fd, int action, const struct termios *attributes)
{
    return console_result(console_set_attributes(fd, action, attributes));
}

static inline int
tcflush(int fd, int queue)
{
    return console_result(console_flush(fd, queue));
}

static inline void
cfmakeraw(struct termios *t)
{
    t->c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t->c_oflag &= ~OPOST;
    t->c_lflag &= ~(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    t->c_cflag &= ~(CSIZE | PARENB);
    t->c_cflag |= CS8;
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}

static inline int
console_ioctl(int fd, int request, struct winsize *size)
{
    switch (request) {
      case TIOCGWINSZ:
        return console_result(console_get_size(fd, size));
      case TIOCSWINSZ:
        return console_result(console_set_size(fd, size));
      default:
        return console_result(ENOTTY);
    }
}
#define ioctl(fd, request, size) console_ioctl(fd, request, size)

#endif
