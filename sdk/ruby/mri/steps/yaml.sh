# The archive lacks the configure script, so these are the definitions that the script would generate.
unpack "$SOURCES"/libyaml_*.orig.tar.gz yaml
cd "$WORK/yaml/src"
for file in *.c; do
  wasm-cc -O3 -I../include -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 -DYAML_VERSION_PATCH=5 \
    '-DYAML_VERSION_STRING="0.2.5"' -c "$file"
done
mkdir -p "$PREFIX/lib" "$PREFIX/include"
wasm-ar rcs "$PREFIX/lib/libyaml.a" ./*.o
cp ../include/yaml.h "$PREFIX/include/"
