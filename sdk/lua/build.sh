# Compiles Lua and dyno.c into one module, a reactor of WASI.
unpack "$SOURCES/lua.tar.gz" lua
cd "$WORK/lua/src"
flags=(
  -O3 -w -g0 -mexec-model=reactor -I.
  -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS
  # A dyno starts no processes. Temporary files have names of its own.
  '-Dl_system(command)=(-1)'
  -DLUA_TMPNAMBUFSIZE=32 '-Dlua_tmpnam(buffer,failed)={failed=dyno_tmpnam(buffer);}'
  # The seed of hashes is random in each app.
  '-Dluai_makeseed(L)=dyno_seed()'
  # lua.c is the command `lua` of `corundum run`.
  -Dmain=lua_main
  -include "$RECIPE/dyno.h"
)
files=()
for file in *.c; do
  [ "$file" = luac.c ] || files+=("$file")
done
wasm-cc -c "$RECIPE/setjmp.S" -o setjmp.o
wasm-cc "${flags[@]}" "$RECIPE"/*.c "${files[@]}" setjmp.o \
  -lwasi-emulated-signal -lwasi-emulated-process-clocks -Wl,--strip-debug -o "$OUT/lua.wasm"
mkdir -p "$OUT/root/usr/share/doc/lua"
sed -n '/Copyright (C)/,$p' lua.h | sed 's/^\* //' >"$OUT/root/usr/share/doc/lua/copyright"
