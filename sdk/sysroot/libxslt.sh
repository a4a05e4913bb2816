# With EXSLT, without its functions of cryptography.
source_tree
exslt=$(sed -n 's/^AC_SUBST(LIBEXSLT_VERSION, *\[*\([0-9.]*\).*/\1/p; s/^LIBEXSLT_MAJOR_VERSION=//p' configure.ac | head -1)
number() { echo "$1" | awk -F. '{ print $1 * 10000 + $2 * 100 + $3 }'; }
part() { sed -n "s/^LIBEXSLT_$1_VERSION=\([0-9]*\).*/\1/p" configure.ac; }
exslt=$(part MAJOR).$(part MINOR).$(part MICRO)
# Definitions that the script `configure` would generate.
sed -e "s/@VERSION@/$VERSION/" -e "s/@LIBXSLT_VERSION_NUMBER@/$(number "$VERSION")/" -e 's/@LIBXSLT_VERSION_EXTRA@//' \
  -e 's/@WITH_\(XSLT_DEBUG\|DEBUGGER\|PROFILER\)@/1/' -e 's/@WITH_[A-Z_]*@/0/' -e 's|@LIBXSLT_DEFAULT_PLUGINS_PATH@||' \
  libxslt/xsltconfig.h.in >libxslt/xsltconfig.h
sed -e "s/@LIBEXSLT_VERSION@/$exslt/" -e "s/@LIBEXSLT_VERSION_NUMBER@/$(number "$exslt")/" -e 's/@LIBEXSLT_VERSION_EXTRA@//' \
  -e 's/@WITH_CRYPTO@/0/' libexslt/exsltconfig.h.in >libexslt/exsltconfig.h
{
  for name in CLOCK_GETTIME ERRNO_H FABS FLOAT_H FLOOR FPRINTF GETTIMEOFDAY GMTIME GMTIME_R INTTYPES_H LOCALE_H LOCALTIME LOCALTIME_R \
    MATH_H POW PRINTF SNPRINTF SPRINTF SSCANF STAT STDARG_H STDINT_H STDLIB_H STRINGS_H STRING_H SYS_SELECT_H SYS_STAT_H SYS_TIME_H \
    SYS_TYPES_H TIME TIME_H UNISTD_H VFPRINTF VSNPRINTF VSPRINTF; do
    echo "#define HAVE_$name 1"
  done
  echo '#define WITH_DEBUGGER 1'
  echo '#define WITH_PROFILER 1'
  echo "#define VERSION \"$VERSION\""
} >config.h
flags=(-DHAVE_CONFIG_H -I. -Ilibxslt -Ilibexslt -I"$ROOT/usr/include/libxml2" $POSIX)
archive xslt "${flags[@]}" -- libxslt/*.c
archive exslt "${flags[@]}" -- libexslt/*.c
for name in xslt exslt; do
  mkdir -p "$PREFIX/usr/include/lib$name"
  cp lib$name/*.h "$PREFIX/usr/include/lib$name/"
done
package libxslt 'XSLT library' -lxslt 'Requires: libxml-2.0' 'Libs.private: -lm' 'Cflags: -I${includedir}'
VERSION=$exslt package libexslt 'EXSLT extension library' -lexslt 'Requires: libxml-2.0, libxslt' 'Libs.private: -lm' 'Cflags: -I${includedir}'
licence Copyright
