# Functions for the recipes of libraries. A recipe compiles $ORIG, the source archive, with the patches of $DEBIAN, and puts
# its files below $PREFIX/usr. $ROOT/usr has the libraries that it needs.

mkdir -p "$WORK/tmp" "$WORK/bin" "$PREFIX/usr/include" "$PREFIX/usr/lib/pkgconfig" "$PREFIX/usr/share/licenses/$NAME"
cat >"$WORK/bin/wasm-cc" <<END
#!/bin/sh
exec "$ZIG" clang $COMPILE_FLAGS -ffile-prefix-map="$WORK"=/usr/src/$NAME -ffile-prefix-map="$TOOLCHAIN"=/usr/lib/toolchain "\$@"
END
for tool in ar ranlib; do
  printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$ZIG" "$tool" >"$WORK/bin/wasm-$tool"
done
chmod +x "$WORK"/bin/*
# Declarations of the dyno's files, sockets and users, in place of those of the C library.
POSIX="-I$RECIPE/net/include -I$RECIPE/console -include $RECIPE/posix/posix.h"

# Unpacks the source with Debian's patches, and enters its directory.
source_tree() {
  unpack "$ORIG" source
  cd "$WORK/source"
  if [ -n "$DEBIAN" ]; then
    tar xf "$DEBIAN"
    sed -e 's/#.*//' debian/patches/series | while read -r patch options; do
      [ -z "$patch" ] || patch -s -p1 --no-backup-if-mismatch <"debian/patches/$patch"
    done
  fi
}

# Compiles files in parallel with the flags before `--`, and adds the objects to the archive lib$1.a.
archive() { # name, flags..., --, files...
  local name=$1 flags=
  shift
  while [ "$1" != -- ]; do
    flags="$flags $(printf '%q' "$1")"
    shift
  done
  shift
  local objects=$WORK/objects/$name
  mkdir -p "$objects"
  printf '%s\n' "$@" |
    xargs -P "$JOBS" -I{} bash -c 'wasm-cc -O2 -w '"$flags"' -c "$1" -o "$0/$(echo "$1" | tr / _).o"' "$objects" {}
  rm -f "$PREFIX/usr/lib/lib$name.a"
  printf '%s\n' "$objects"/*.o | xargs wasm-ar rcsD "$PREFIX/usr/lib/lib$name.a"
}

# Writes the description for pkg-config.
package() { # name, description, flags of the linker, other lines...
  local name=$1 description=$2 libs=$3
  shift 3
  {
    printf 'prefix=/usr\nlibdir=/usr/lib\nincludedir=/usr/include\n\nName: %s\nDescription: %s\nVersion: %s\n' \
      "$name" "$description" "$VERSION"
    printf 'Libs: -L${libdir} %s\n' "$libs"
    [ $# = 0 ] || printf '%s\n' "$@"
  } >"$PREFIX/usr/lib/pkgconfig/$name.pc"
}

# Copies the texts of the licence.
licence() {
  cp "$@" "$PREFIX/usr/share/licenses/$NAME/"
}
