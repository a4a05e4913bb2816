cd "$WORK/build"
case $PROFILE_FLAGS in
  *-fprofile-generate*)
    # A program does not link without the runtime, not even one of those that look for functions.
    wasm-cc -O2 -c "$RECIPE/profile/runtime.c" -o "$WORK/runtime.o"
    wasm-ar rcs "$PREFIX/lib/libprofile.a" "$WORK/runtime.o"
    sed -i 's/ -lnet$/ -lnet -lprofile/' "$TOOLS/bin/wasm-net-cc"
    ;;
esac
# The only warnings are those about functions whose control flow is not that of the profile; the build counts them.
make -j"$JOBS" optflags="-O3 $PROFILE_FLAGS" warnflags="-Wno-everything -Wbackend-plugin"
