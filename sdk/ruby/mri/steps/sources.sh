# Unpacks MRI's source, applies the patches, and adds the gems that are linked into MRI.
unpack "$SOURCES/$MRI" source
cd "$WORK/source"
for patch in "$RECIPE"/patches/*.patch "$RECIPE/patches/$SERIES"/*.patch; do
  patch -p1 --forward --fuzz=0 <"$patch"
done
# The archive contains the files that make generates from insns.def, and C finds these before the generated ones, which have the
# patches' changes.
rm -f vm.inc vmtc.inc insns.inc insns_info.inc opt_sc.inc optinsn.inc optunifs.inc
cp "$RECIPE"/wasm/* wasm/
cp "$RECIPE"/coroutine/* coroutine/asyncify/
cp "$RECIPE/dyno.c" main.c
mkdir -p profile
cp "$RECIPE/profile/runtime.h" profile/
link() { # gem's directory, path of the extension in it, target directory below ext
  mkdir -p "ext/$3" "$(dirname "ext/$3")"
  cp -R "$1/$2/." "ext/$3/"
  cp -R "$1"/lib/. lib/
}
: >"$WORK/extensions"
while read -r name version extension target archive series; do
  case $name in '' | '#'*) continue ;; esac
  [ "${series:-$SERIES}" = "$SERIES" ] || continue
  if [ "$archive" = bundled ]; then
    gem=.bundle/gems/$name-$version
  else
    unpack "$SOURCES/$archive" "gems/$name"
    gem=$WORK/gems/$name
  fi
  link "$gem" "$extension" "$target"
  printf ',%s' "$target" >>"$WORK/extensions"
  # MRI would build and install it once more.
  rm -rf "$gem"
done <"$RECIPE/gems"
