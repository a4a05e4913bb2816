cd "$WORK/build"
case $PROFILE_FLAGS in
  *-fprofile-generate*)
    # A program does not link without the runtime, not even one of those that look for functions.
    wasm-cc -O2 -c "$RECIPE/profile/runtime.c" -o "$WORK/runtime.o"
    mkdir -p "$WORK/bin"
    wasm-ar rcs "$WORK/bin/libprofile.a" "$WORK/runtime.o"
    sed "s#-lnet\$#-lnet -L$WORK/bin -lprofile#" "$TOOLS/bin/wasm-net-cc" >"$WORK/bin/wasm-net-cc"
    chmod +x "$WORK/bin/wasm-net-cc"
    PATH=$WORK/bin:$PATH
    ;;
esac
# The only warnings are those about functions whose control flow is not that of the profile; the build counts them.
make -j"$JOBS" optflags="-O3 $PROFILE_FLAGS" warnflags="-Wno-everything -Wbackend-plugin"
