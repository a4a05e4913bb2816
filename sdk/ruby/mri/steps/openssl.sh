# Builds OpenSSL without assembly, threads, loadable modules, and algorithms that web apps have not used in ten years.
unpack "$SOURCES"/openssl_*.orig.tar.gz openssl
cd "$WORK/openssl"
# ChaCha20 comes first in the default lists, because it is more than twice as fast as AES without the processor's help.
aes='"TLS_AES_256_GCM_SHA384:"' chacha='"TLS_CHACHA20_POLY1305_SHA256:"'
sed -i -e "s/^    return $aes\$/    return $chacha/" -e "s/^           $chacha\$/           $aes/" \
  -e 's/^\(    ssl_cipher_apply_rule(0, 0, 0, SSL_\)AESGCM, /\1FIRST, /' -e 's/^\(    ssl_cipher_apply_rule(0, 0, 0, SSL_\)CHACHA20, /\1AESGCM, /' \
  -e 's/SSL_FIRST, /SSL_CHACHA20, /' ssl/ssl_ciph.c
grep -q "return $chacha" ssl/ssl_ciph.c
grep -A2 '0, SSL_CHACHA20, ' ssl/ssl_ciph.c | grep -q '0, SSL_AESGCM, '
CC=wasm-net-cc AR=wasm-ar RANLIB=wasm-ranlib perl ./Configure gcc \
  no-asm no-threads no-dso no-shared no-module no-tests no-apps no-docs no-async no-ui-console no-engine \
  no-secure-memory no-afalgeng no-legacy no-comp no-http no-ssl-trace no-dtls no-quic no-sctp \
  no-psk no-srp no-srtp no-ct no-cms no-cmp no-ts no-gost no-ml-kem no-ml-dsa no-slh-dsa no-sm2 no-sm3 no-sm4 no-aria \
  no-camellia no-seed no-idea no-rc2 no-rc4 no-rc5 no-md2 no-mdc2 no-whirlpool no-bf no-cast no-siphash no-blake2 \
  --openssldir=/usr/lib/ssl --with-rand-seed=getrandom -O2 -DNO_SYSLOG -DNO_CHMOD \
  -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_MMAN -D_WASI_EMULATED_GETPID
make -j"$JOBS" build_generated
make -j"$JOBS" libcrypto.a libssl.a
mkdir -p "$PREFIX/lib" "$PREFIX/include"
cp libcrypto.a libssl.a "$PREFIX/lib/"
cp -R include/openssl "$PREFIX/include/"
