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
# Native extensions use MRI's public functions and these of the C library.
wasm-cc -O2 -c "$RECIPE/extension/dlopen.c" -o "$WORK/dlopen.o"
{
  echo "$WORK/dlopen.o" -rdynamic -Wl,--export-table -Wl,--export=stack_low -Wl,--export=dyno_program_exit
  grep -v '^#' "$RECIPE/extension/exports" | sed 's/^/-Wl,--export=/'
} >"$WORK/exports"
cat >"$WORK/bin/wasm-net-cc" <<END
#!/bin/sh
for argument in "\$@"; do
  case \$argument in -c | -E | -S | -M | -MM) exec "$TOOLS/bin/wasm-net-cc" "\$@" ;; esac
done
case " \$* " in *' -o ruby '*) set -- "\$@" "@$WORK/exports" ;; esac
exec "$TOOLS/bin/wasm-net-cc" "\$@" $always
END
chmod +x "$WORK/bin/wasm-net-cc"
PATH=$WORK/bin:$PATH
# The only warnings are those about functions whose control flow is not that of the profile; the build counts them.
make -j"$JOBS" optflags="-O3 $PROFILE_FLAGS" warnflags="-Wno-everything -Wbackend-plugin"
