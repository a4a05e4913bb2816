cd "$WORK/build"
make -j"$JOBS"
