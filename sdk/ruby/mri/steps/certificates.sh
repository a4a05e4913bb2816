# Makes the bundle of certificate authorities that Debian trusts, in the form and the order of update-ca-certificates.
rm -rf "$WORK/certificates"
dpkg-deb -x "$SOURCES"/ca-certificates_*.deb "$WORK/certificates"
mkdir -p "$PREFIX/ssl"
cat "$WORK"/certificates/usr/share/ca-certificates/mozilla/*.crt >"$PREFIX/ssl/ca-certificates.crt"
grep -q 'BEGIN CERTIFICATE' "$PREFIX/ssl/ca-certificates.crt"
