# For one thread, without extensions of its own.
source_tree
# A dyno is the only process with its files. SQLite itself keeps the connections of a process apart, and locks of the system
# exist against other processes only.
cat >locks.h <<'END'
#include <fcntl.h>
#include <stdarg.h>
#ifndef F_RDLCK
#define F_RDLCK 0
#define F_WRLCK 1
#define F_UNLCK 2
#define F_GETLK 5
#define F_SETLK 6
#define F_SETLKW 7
#endif
static int sqlite_fcntl(int fd, int command, ...) {
  va_list arguments;
  va_start(arguments, command);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  switch (command) {
    case F_GETLK: ((struct flock *)argument)->l_type = F_UNLCK; return 0;
    case F_SETLK: case F_SETLKW: return 0;
    default: return fcntl(fd, command, (int)(long)argument);
  }
}
#define fcntl sqlite_fcntl
END
# The choice of Debian, and the kinds of searches and functions that apps expect.
options=(-DSQLITE_THREADSAFE=0 -DSQLITE_OMIT_LOAD_EXTENSION '-DSQLITE_DEFAULT_UNIX_VFS="unix"' -DSQLITE_TEMP_STORE=2
  -DSQLITE_ENABLE_COLUMN_METADATA -DSQLITE_ENABLE_FTS3 -DSQLITE_ENABLE_FTS3_PARENTHESIS -DSQLITE_ENABLE_FTS3_TOKENIZER
  -DSQLITE_ENABLE_FTS4 -DSQLITE_ENABLE_FTS5 -DSQLITE_ENABLE_RTREE -DSQLITE_ENABLE_GEOPOLY -DSQLITE_ENABLE_MATH_FUNCTIONS
  -DSQLITE_ENABLE_DBSTAT_VTAB -DSQLITE_ENABLE_DBPAGE_VTAB -DSQLITE_ENABLE_STMTVTAB -DSQLITE_ENABLE_BYTECODE_VTAB
  -DSQLITE_ENABLE_PREUPDATE_HOOK -DSQLITE_ENABLE_SESSION -DSQLITE_ENABLE_UPDATE_DELETE_LIMIT -DSQLITE_SECURE_DELETE
  -DSQLITE_SOUNDEX -DSQLITE_USE_URI -DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DSQLITE_STRICT_SUBTYPE -DSQLITE_MAX_VARIABLE_NUMBER=250000)
# Joins the source into one file, by tools that run on this machine. They need no functions of a runtime library, which would
# take longer to compile than SQLite.
host="$ZIG cc -w --rtlib=none -fno-sanitize=undefined"
mkdir joined
touch joined/sqlite_cfg.h
cd joined
sed 's/@[A-Z_]*@//g' ../Makefile.in >Makefile
make TOP=.. BCC="$host" LTLINK="$host" BEXE= TEXE= TCLSH_CMD=tclsh USE_AMALGAMATION=1 OPTS="${options[*]//\"/\\\"}" sqlite3.c
archive sqlite3 "${options[@]}" -DHAVE_USLEEP -DHAVE_FDATASYNC -DHAVE_PREAD -DHAVE_PWRITE -DHAVE_ISNAN -DHAVE_STRCHRNUL \
  $POSIX -include ../locks.h -- sqlite3.c
cp sqlite3.h sqlite3ext.h "$PREFIX/usr/include/"
package sqlite3 'SQL database engine' -lsqlite3 'Libs.private: -lm' 'Cflags: -I${includedir}'
licence ../LICENSE.md
