# For one thread, without extensions of its own.
source_tree
# Dynos share the files of a volume but no memory. A database there has no methods for the shared memory of a write-ahead log, so
# that SQLite keeps a rollback journal, unless the app chooses locking_mode=exclusive. In a dyno's own files, all connections are
# in one memory.
cat >shared.c <<'END'
IOMETHODS(sharedIoFinder, sharedIoMethods, 3, unixClose, unixLock, unixUnlock, unixCheckReservedLock, 0)
static const sqlite3_io_methods *posixIoFinderImpl(const char *path, unixFile *file){
  struct stat status;
  int shared = osFstat(file->h, &status)!=0 || status.st_dev==DYNO_SHARED_DEVICE;
  return shared ? sharedIoFinder(path, file) : privateIoFinder(path, file);
}
static const sqlite3_io_methods *(*const posixIoFinder)(const char*,unixFile *p) = posixIoFinderImpl;
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
sed -i -e 's/^  posixIoFinder, /  privateIoFinder, /' -e '/^  unixShmMap  *\/\* xShmMap method/{n;r ../shared.c
}' sqlite3.c
[ "$(grep -c -e '^  privateIoFinder, ' -e '^IOMETHODS(sharedIoFinder' sqlite3.c)" = 2 ]
archive sqlite3 "${options[@]}" -DHAVE_USLEEP -DHAVE_FDATASYNC -DHAVE_PREAD -DHAVE_PWRITE -DHAVE_ISNAN -DHAVE_STRCHRNUL \
  $POSIX -- sqlite3.c
cp sqlite3.h sqlite3ext.h "$PREFIX/usr/include/"
package sqlite3 'SQL database engine' -lsqlite3 'Libs.private: -lm' 'Cflags: -I${includedir}'
licence ../LICENSE.md
