# Builds the functions of POSIX that wasi-libc lacks, or defines with less than a dyno has.
mkdir -p "$WORK/posix" "$PREFIX/lib" "$PREFIX/include"
cp "$RECIPE"/console/termios.h "$PREFIX/include/"
cd "$WORK/posix"
for file in "$RECIPE"/posix/*.c; do
  wasm-cc -O2 -D_GNU_SOURCE -c "$file"
done
wasm-ar rcs "$PREFIX/lib/libposix.a" ./*.o
