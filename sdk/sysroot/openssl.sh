# Without assembly, threads, loadable modules, and algorithms that apps have not used in ten years: those that
# MRI's own openssl leaves out (sdk/ruby/mri/steps/openssl.sh).
source_tree
# The library contains the name of its compiler and the date, which are the same on every machine.
printf '#!/bin/sh\nexec wasm-cc -O2 -w %s "$@"\n' "$POSIX" >"$WORK/bin/wasm-posix-cc"
chmod +x "$WORK/bin/wasm-posix-cc"
export SOURCE_DATE_EPOCH=0
CC=wasm-posix-cc AR=wasm-ar RANLIB=wasm-ranlib perl ./Configure gcc \
  no-asm no-threads no-dso no-shared no-module no-tests no-apps no-docs no-async no-ui-console no-engine \
  no-secure-memory no-afalgeng no-legacy no-comp no-http no-ssl-trace no-dtls no-quic no-sctp \
  no-psk no-srp no-srtp no-ct no-cms no-cmp no-ts no-gost no-ml-kem no-ml-dsa no-slh-dsa no-sm2 no-sm3 no-sm4 no-aria \
  no-camellia no-seed no-idea no-rc2 no-rc4 no-rc5 no-md2 no-mdc2 no-whirlpool no-bf no-cast no-siphash no-blake2 \
  --prefix=/usr --libdir=lib --openssldir=/usr/lib/ssl --with-rand-seed=getrandom -DNO_SYSLOG -DNO_CHMOD
make -j"$JOBS" build_generated
make -j"$JOBS" libcrypto.a libssl.a
cp libcrypto.a libssl.a "$PREFIX/usr/lib/"
cp -R include/openssl "$PREFIX/usr/include/"
package libcrypto 'OpenSSL-libcrypto' -lcrypto 'Cflags: -I${includedir}'
package libssl 'OpenSSL-libssl' -lssl 'Requires.private: libcrypto' 'Cflags: -I${includedir}'
package openssl 'Secure Sockets Layer and cryptography' '-lssl -lcrypto' 'Requires: libssl libcrypto' 'Cflags: -I${includedir}'
licence LICENSE.txt
