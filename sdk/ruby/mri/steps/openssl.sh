# Builds digests, ciphers, keys and certificates. The host terminates TLS, so the build omits the parts that only
# handshakes need, and algorithms that web apps have not used in ten years.
unpack "$SOURCES"/openssl_*.orig.tar.gz openssl
cd "$WORK/openssl"
CC=wasm-cc AR=wasm-ar RANLIB=wasm-ranlib perl ./Configure gcc \
  no-asm no-threads no-sock no-dso no-shared no-module no-tests no-apps no-docs no-async no-ui-console no-engine \
  no-posix-io no-stdio no-secure-memory no-afalgeng no-legacy no-comp no-http no-ssl-trace no-dtls no-quic no-sctp \
  no-psk no-srp no-srtp no-ct no-cms no-cmp no-ts no-gost no-ml-kem no-ml-dsa no-slh-dsa no-sm2 no-sm3 no-sm4 no-aria \
  no-camellia no-seed no-idea no-rc2 no-rc4 no-rc5 no-md2 no-mdc2 no-whirlpool no-bf no-cast no-siphash no-blake2 \
  --with-rand-seed=getrandom -O2 -DNO_SYSLOG -DNO_CHMOD \
  -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_MMAN -D_WASI_EMULATED_GETPID
make -j"$JOBS" build_generated
make -j"$JOBS" libcrypto.a libssl.a
mkdir -p "$PREFIX/lib" "$PREFIX/include"
cp libcrypto.a libssl.a "$PREFIX/lib/"
cp -R include/openssl "$PREFIX/include/"
