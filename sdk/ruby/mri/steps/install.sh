cd "$WORK/build"
rm -rf "$WORK/root"
# The installation links Ruby once more, as the step before has.
PATH=$WORK/bin:$PATH
make HAVE_BASERUBY=no DESTDIR="$WORK/root" do-install-nodoc
# Debian's Ruby, which runs the installation, uses another directory for gems.
gems=$WORK/root/usr/lib/ruby/gems
if [ ! -d "$gems/$SERIES.0/specifications" ]; then
  mkdir -p "$gems"
  cp -R "$WORK/root/var/lib/gems/$SERIES.0" "$gems/"
fi
cd "$gems/$SERIES.0"
# Debuggers and type checkers need a terminal, and native extensions that this build lacks. So does syslog.
rm -rf {gems,specifications}/{debug,rbs,typeprof,repl_type_completor,syslog}-* cache doc extensions build_info
# The bundle lies where OpenSSL looks for it by default, and where Debian has it, which apps name themselves.
mkdir -p "$WORK/root/usr/lib/ssl" "$WORK/root/etc/ssl/certs"
cp "$PREFIX/ssl/ca-certificates.crt" "$WORK/root/usr/lib/ssl/cert.pem"
cp "$PREFIX/ssl/ca-certificates.crt" "$WORK/root/etc/ssl/certs/"
# Native extensions are compiled with these settings: they name programs that a build provides (sdk/ruby/lib/dyno/extension), and no path of
# this machine. The compiler itself knows the flags that all code for dynos needs.
rbconfig=$(echo "$WORK"/root/usr/lib/ruby/*/*/rbconfig.rb)
set_config() { sed -i "s|^  CONFIG\\[\"$1\"\\] = .*|  CONFIG[\"$1\"] = \"$2\"|" "$rbconfig"; }
while IFS='=' read -r name value; do
  set_config "$name" "$value"
done <<'END'
CC=cc
CXX=c++
LD=cc
AR=ar
RANLIB=ranlib
LDSHARED=$(CC) -shared
LDSHAREDXX=$(CXX) -shared
CFLAGS=$(cflags)
cflags=$(optflags) $(warnflags)
CXXFLAGS=$(cxxflags)
cxxflags=$(optflags) $(warnflags)
optflags=-O3
debugflags=
warnflags=-w
CPPFLAGS=$(DEFS) $(cppflags)
LDFLAGS=
DLDFLAGS=
incflags=
LIBS=
MAINLIBS=
LIBRUBYARG=
LIBRUBYARG_STATIC=
POSTLINK=
WASMOPT=
CC_VERSION_MESSAGE=
configure_args=
GREP=grep
EGREP=grep -E
MKDIR_P=mkdir -p
MAKEDIRS=mkdir -p
SHELL=/bin/sh
CROSS_COMPILING=no
END
cp -R "$RECIPE"/net/include/. "$WORK/root/usr/include/"
cp "$PREFIX"/include/termios.h "$WORK/root/usr/include/"
