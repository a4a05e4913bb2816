unpack "$SOURCES"/zlib_*.orig.tar.gz zlib
cd "$WORK/zlib"
CC=wasm-cc AR=wasm-ar RANLIB=wasm-ranlib CFLAGS=-O3 ./configure --static --prefix="$PREFIX"
make -j"$JOBS" libz.a
make install
