cd "$WORK/build"
rm -rf "$WORK/root"
make HAVE_BASERUBY=no DESTDIR="$WORK/root" do-install-nodoc
# Debian's Ruby, which runs the installation, uses another directory for gems.
gems=$WORK/root/usr/lib/ruby/gems
if [ ! -d "$gems/$SERIES.0/specifications" ]; then
  mkdir -p "$gems"
  cp -R "$WORK/root/var/lib/gems/$SERIES.0" "$gems/"
fi
cd "$gems/$SERIES.0"
# Debuggers and type checkers need a terminal, and native extensions that this build lacks. So does syslog.
rm -rf {gems,specifications}/{debug,rbs,typeprof,repl_type_completor,syslog}-* cache doc extensions build_info
# The bundle lies where OpenSSL looks for it by default, and where Debian has it, which apps name themselves.
mkdir -p "$WORK/root/usr/lib/ssl" "$WORK/root/etc/ssl/certs"
cp "$PREFIX/ssl/ca-certificates.crt" "$WORK/root/usr/lib/ssl/cert.pem"
cp "$PREFIX/ssl/ca-certificates.crt" "$WORK/root/etc/ssl/certs/"
