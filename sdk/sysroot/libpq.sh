# With TLS by OpenSSL, without LDAP, Kerberos and OAuth, which need programs or libraries that a dyno lacks.
source_tree
major=${VERSION%.*} minor=${VERSION#*.}
# Definitions that the script `configure` would generate.
{
  for name in DECL_STRCHRNUL DECL_STRLCAT DECL_STRLCPY DECL_STRNLEN DECL_STRSEP EXPLICIT_BZERO FSEEKO GETIFADDRS GETOPT GETOPT_H GETOPT_LONG \
    IFADDRS_H INET_ATON INET_PTON INTTYPES_H LIBCRYPTO LIBSSL LIBZ MEMORY_H SOCKLEN_T SSL_CTX_SET_CERT_CB SSL_CTX_SET_CIPHERSUITES \
    SSL_CTX_SET_KEYLOG_CALLBACK SSL_CTX_SET_NUM_TICKETS STDINT_H STDLIB_H STRERROR_R STRINGS_H STRING_H STRLCAT STRLCPY STRNLEN STRSEP \
    STRSIGNAL STRUCT_OPTION SYS_STAT_H SYS_TYPES_H TYPEOF UNISTD_H VISIBILITY_ATTRIBUTE X509_GET_SIGNATURE_INFO \
    _BUILTIN_BSWAP16 _BUILTIN_BSWAP32 _BUILTIN_BSWAP64 _BUILTIN_CLZ _BUILTIN_CONSTANT_P _BUILTIN_CTZ _BUILTIN_OP_OVERFLOW _BUILTIN_POPCOUNT \
    _BUILTIN_TYPES_COMPATIBLE_P _BUILTIN_UNREACHABLE _STATIC_ASSERT PTHREAD; do
    echo "#define HAVE_$name 1"
  done
  for absent in F_FULLFSYNC MEMSET_S POSIX_FADVISE PREADV PWRITEV TIMINGSAFE_BCMP FDATASYNC; do
    echo "#define HAVE_DECL_$absent 0"
  done
  for size in ALIGNOF_DOUBLE=8 ALIGNOF_INT=4 ALIGNOF_INT64_T=8 ALIGNOF_LONG=4 ALIGNOF_SHORT=2 MAXIMUM_ALIGNOF=8 SIZEOF_LONG=4 SIZEOF_LONG_LONG=8 \
    SIZEOF_OFF_T=8 SIZEOF_SIZE_T=4 SIZEOF_VOID_P=4 BLCKSZ=8192 XLOG_BLCKSZ=8192 RELSEG_SIZE=131072 MEMSET_LOOP_LIMIT=1024 DEF_PGPORT=5432 \
    'DEF_PGPORT_STR="5432"' 'DLSUFFIX=".so"' 'CONFIGURE_ARGS=""' 'PG_KRB_SRVNAM="postgres"' OPENSSL_API_COMPAT=0x10101000L USE_OPENSSL=1 STRERROR_R_INT=1 \
    "PG_VERSION=\"$VERSION\"" "PG_VERSION_STR=\"PostgreSQL $VERSION\"" "PG_MAJORVERSION=\"$major\"" "PG_MAJORVERSION_NUM=$major" \
    "PG_MINORVERSION_NUM=$minor" "PG_VERSION_NUM=$((major * 10000 + minor))" PG_C_PRINTF_ATTRIBUTE=printf PG_CXX_PRINTF_ATTRIBUTE=printf \
    pg_restrict=__restrict USE_UNNAMED_POSIX_SEMAPHORES=1 USE_SLICING_BY_8_CRC32C=1 STDC_HEADERS=1; do
    echo "#define ${size%%=*} ${size#*=}"
  done
} >src/include/pg_config.h
for path in PGBINDIR=/usr/bin PGSHAREDIR=/usr/share/postgresql SYSCONFDIR=/etc/postgresql-common INCLUDEDIR=/usr/include \
  PKGINCLUDEDIR=/usr/include INCLUDEDIRSERVER=/usr/include LIBDIR=/usr/lib PKGLIBDIR=/usr/lib LOCALEDIR=/usr/share/locale \
  DOCDIR=/usr/share/doc HTMLDIR=/usr/share/doc MANDIR=/usr/share/man; do
  echo "#define ${path%%=*} \"${path#*=}\""
done >src/port/pg_config_paths.h
cp src/include/port/linux.h src/include/pg_config_os.h
# No program can show a long result page by page, no write to a closed connection raises a signal, and the C library knows
# no such error. A program has one thread, for which getpwuid is enough.
cat >src/port/wasi.h <<'END'
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#define EHOSTDOWN 112
#define SIG_BLOCK 0
#define SIG_SETMASK 2
static inline FILE *popen(const char *command, const char *mode) { errno = ENOSYS; return NULL; }
static inline int pclose(FILE *stream) { errno = ENOSYS; return -1; }
static inline int sigemptyset(sigset_t *set) { *set = 0; return 0; }
static inline int sigaddset(sigset_t *set, int signal) { return 0; }
static inline int sigismember(const sigset_t *set, int signal) { return 0; }
static inline int sigpending(sigset_t *set) { *set = 0; return 0; }
static inline int sigwait(const sigset_t *set, int *signal) { return EINVAL; }
static inline int pthread_sigmask(int how, const sigset_t *set, sigset_t *old) { if (old) *old = 0; return 0; }
static inline int getpwuid_r(uid_t user, struct passwd *entry, char *buffer, size_t size, struct passwd **result) {
  struct passwd *found = getpwuid(user);
  if (found) *entry = *found;
  *result = found ? entry : NULL;
  return 0;
}
END
rm src/interfaces/libpq/{fe-gssapi-common,fe-secure-gssapi}.c
common=() port=()
for name in base64 cryptohash_openssl encnames hmac_openssl ip jsonapi link-canary md5_common pg_prng psprintf saslprep scram-common string \
  stringinfo unicode_norm wchar; do
  common+=("src/common/$name.c")
done
for name in chklocale inet_net_ntop noblock pg_strong_random pgsleep pgstrcasecmp snprintf strerror getpeereid timingsafe_bcmp; do
  port+=("src/port/$name.c")
done
flags=(-DFRONTEND -D_GNU_SOURCE -DUNSAFE_STAT_OK -Isrc/include -Isrc/port -Isrc/interfaces/libpq -I"$ROOT/usr/include" $POSIX -include src/port/wasi.h)
archive pq "${flags[@]}" -DSO_MAJOR_VERSION=5 -- src/interfaces/libpq/{fe-*,libpq-events,pqexpbuffer}.c
archive pgcommon "${flags[@]}" -- "${common[@]}"
archive pgport "${flags[@]}" -- "${port[@]}"
cp src/interfaces/libpq/{libpq-fe.h,libpq-events.h} src/include/{postgres_ext.h,pg_config.h,pg_config_os.h,pg_config_manual.h} "$PREFIX/usr/include/"
mkdir -p "$PREFIX/usr/include/libpq"
cp src/include/libpq/libpq-fs.h "$PREFIX/usr/include/libpq/"
package libpq 'PostgreSQL libpq library' -lpq 'Requires.private: libssl libcrypto' 'Libs.private: -lpgcommon -lpgport -lm' 'Cflags: -I${includedir}'
licence COPYRIGHT
