cd "$WORK/build"
mkdir -p "$WORK/bin"
always=
case $PROFILE_FLAGS in
  *-fprofile-generate*)
    # A program does not link without the runtime, not even one of those that look for functions.
    wasm-cc -O2 -c "$RECIPE/profile/runtime.c" -o "$WORK/runtime.o"
    wasm-ar rcs "$WORK/bin/libprofile.a" "$WORK/runtime.o"
    always="-L$WORK/bin -lprofile"
    ;;
esac
# The compiler's malloc rounds every block up to a power of two, an aligned page of Ruby's heap to four times its size. The linker
# takes an object before a library, so this one, which is that of WASI's C library, replaces it.
rm -rf "$WORK/allocator"
dpkg-deb -x "$SOURCES"/wasi-libc_*.deb "$WORK/allocator"
(cd "$WORK/allocator" && wasm-ar x usr/lib/wasm32-wasi/libc.a dlmalloc.o)
wasm-cc -O2 -c "$RECIPE/memory/free_blocks.c" -o "$WORK/free_blocks.o"
# Native extensions use MRI's public functions and these of the C library.
wasm-cc -O2 -c "$RECIPE/extension/dlopen.c" -o "$WORK/dlopen.o"
{
  echo "$WORK/dlopen.o" "$WORK/allocator/dlmalloc.o" "$WORK/free_blocks.o" -rdynamic -Wl,--export-table -Wl,--export=stack_low -Wl,--export=dyno_program_exit
  grep -v '^#' "$RECIPE/extension/exports" | sed 's/^/-Wl,--export=/'
} >"$WORK/exports"
cat >"$WORK/bin/wasm-net-cc" <<END
#!/bin/sh
for argument in "\$@"; do
  case \$argument in -c | -E | -S | -M | -MM) exec "$TOOLS/bin/wasm-net-cc" "\$@" ;; esac
done
case " \$* " in
  *' -o ruby '*) set -- "\$@" "@$WORK/exports" ;;
  # make install links it, and nothing runs it.
  *' -o miniruby '*) set -- "\$@" "$WORK/free_blocks.o" ;;
esac
exec "$TOOLS/bin/wasm-net-cc" "\$@" $always
END
chmod +x "$WORK/bin/wasm-net-cc"
PATH=$WORK/bin:$PATH
# The only warnings are those about functions whose control flow is not that of the profile; the build counts them.
make -j"$JOBS" optflags="-O3 $PROFILE_FLAGS" warnflags="-Wno-everything -Wbackend-plugin"
