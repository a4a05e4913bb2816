# The client of MariaDB and MySQL, which is a folder of MariaDB's source, with TLS by OpenSSL and all ways of authentication built in.
tar xf "$ORIG" -C "$WORK" --strip-components=1 --wildcards '*/libmariadb/*'
cd "$WORK/libmariadb"
# The version of MariaDB's source, and the number of the connector's own version.
server=$(basename "$ORIG" .orig.tar.gz)
server=${server#mariadb_}
number=$(echo "$VERSION" | awk -F. '{ printf "%d%02d%02d", $1, $2, $3 }')
# Definitions that CMake would find out.
for name in ALLOCA_H SETLOCALE NL_LANGINFO FCNTL_H FLOAT_H LIMITS_H PWD_H STDDEF_H STDINT_H STDLIB_H STRING_H SYS_IOCTL_H SYS_SELECT_H \
  SYS_SOCKET_H SYS_STAT_H SYS_TYPES_H SYS_UN_H UNISTD_H GETPWUID MEMCPY POLL STRTOK_R STRTOL STRTOLL STRTOUL STRTOULL VASPRINTF VSNPRINTF; do
  found+=(-e "s/^#cmakedefine HAVE_$name 1/#define HAVE_$name 1/")
done
for size in CHARP=4 INT=4 LONG=4 LONG_LONG=8 SIZE_T=4 UINT=4 USHORT=2 ULONG=4 SOCKLEN_T=4; do
  found+=(-e "s/^#cmakedefine SIZEOF_${size%=*} .*/#define SIZEOF_${size%=*} ${size#*=}/")
done
sed "${found[@]}" -e 's/^#cmakedefine SOCKET_SIZE_TYPE .*/#define SOCKET_SIZE_TYPE socklen_t/' -e 's/^#cmakedefine .*//' \
  -e 's/@ENABLED_LOCAL_INFILE@/AUTO/' -e 's/@DEFAULT_CHARSET@/utf8mb4/' include/ma_config.h.in >include/ma_config.h
cp include/ma_config.h include/config.h
sed -e 's/@PROTOCOL_VERSION@/10/' -e "s/@MARIADB_CLIENT_VERSION@/$server/" -e 's/@MARIADB_BASE_VERSION@/mariadb-10.11/' \
  -e "s/@MARIADB_VERSION_ID@/$(echo "$server" | awk -F. '{ printf "%d%02d%02d", $1, $2, $3 }')/" -e 's/@MARIADB_PORT@/3306/' \
  -e 's|@MARIADB_UNIX_ADDR@|/run/mysqld/mysqld.sock|' -e "s/@CPACK_PACKAGE_VERSION@/$VERSION/" -e "s/@MARIADB_PACKAGE_VERSION_ID@/$number/" \
  -e 's/@CMAKE_SYSTEM_NAME@/WASI/' -e 's/@CMAKE_SYSTEM_PROCESSOR@/wasm32/' -e 's|@CMAKE_INSTALL_PREFIX@/@INSTALL_PLUGINDIR@|/usr/lib/mariadb/plugin|' \
  -e 's/@default_charset@/utf8mb4/' -e 's/@CC_SOURCE_REVISION@//' include/mariadb_version.h.in >include/mariadb_version.h
external= builtin=
for plugin in pvio_socket:PVIO mysql_native_password:AUTH mysql_old_password:AUTH caching_sha2_password:AUTH sha256_password:AUTH \
  mysql_clear_password:AUTH client_ed25519:AUTH; do
  external="$external extern struct st_mysql_client_plugin_${plugin#*:} ${plugin%:*}_client_plugin;"
  builtin="$builtin (struct st_mysql_client_plugin *)\&${plugin%:*}_client_plugin,"
done
sed -e 's/st_mysql_client_plugin_PVIO/st_ma_pvio_plugin/' -e "s/@EXTERNAL_PLUGINS@/$external/" -e "s/@BUILTIN_PLUGINS@/$builtin/" \
  libmariadb/ma_client_plugin.c.in >libmariadb/ma_client_plugin.c
# All plugins are built in.
cat >include/wasi.h <<'END'
#include <dlfcn.h>
#define dlopen(path, mode) ((void *)0)
#define dlsym(library, name) ((void *)0)
#define dlerror() "plugins cannot be loaded"
#define dlclose(library) 0
END
sources=()
for name in array charset decimal hashtbl net time default errmsg list pvio tls alloc compress init password ll2str sha1 loaddata stmt_codec string \
  dtoa client_plugin io context; do
  sources+=("libmariadb/ma_$name.c")
done
for name in charset lib stmt rpl dyncol async; do
  sources+=("libmariadb/mariadb_$name.c")
done
for name in my_auth old_password caching_sha2_pw sha256_pw mariadb_cleartext ed25519; do
  sources+=("plugins/auth/$name.c")
done
archive mariadb -DHAVE_COMPRESS -DLIBMARIADB -DTHREAD -DHAVE_OPENSSL -DHAVE_TLS -DLIBICONV_PLUG -DHAVE_ICONV -DDBUG_OFF=1 -DMYSQL_CLIENT=1 \
  -D_GNU_SOURCE -DPOLLPRI=0 '-DMARIADB_SYSTEM_TYPE="WASI"' '-DMARIADB_MACHINE_TYPE="wasm32"' -Iinclude -Ilibmariadb -Iplugins/auth -Iplugins/auth/ref10 \
  -I"$ROOT/usr/include" $POSIX -include include/wasi.h -- "${sources[@]}" plugins/pvio/pvio_socket.c libmariadb/secure/openssl.c libmariadb/secure/openssl_crypt.c \
  plugins/auth/ref10/*.c
target=$PREFIX/usr/include/mariadb
mkdir -p "$target/mysql" "$target/mariadb"
cp include/{mysql,mariadb_stmt,mariadb_com,mariadb_version,mariadb_ctype,ma_list,errmsg,ma_tls,mariadb_rpl,mariadb_dyncol,mysqld_error,ma_pvio}.h "$target/"
cp include/mysql/*.h "$target/mysql/"
cp include/mariadb/*.h "$target/mariadb/"
# The names by which extensions look for it.
cp -Rl "$target" "$PREFIX/usr/include/mysql"
ln "$PREFIX/usr/lib/libmariadb.a" "$PREFIX/usr/lib/libmysqlclient.a"
for name in libmariadb mariadb mysqlclient; do
  package $name 'MariaDB Connector/C' -lmariadb 'Requires.private: libssl libcrypto zlib' 'Cflags: -I${includedir}/mariadb'
done
licence COPYING.LIB
