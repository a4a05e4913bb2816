# Bash runs this script with wasm-cc, wasm-c++, wasm-ar and wasm-ranlib in the path. $RECIPE is this folder, $SOURCES has the
# downloaded sources, and $WORK is empty. `unpack FILE NAME` unpacks a source into $WORK/NAME.
wasm-cc -O2 -Wall -mexec-model=reactor "$RECIPE/dyno.c" -Wl,--strip-debug -o "$OUT/NAME.wasm"
