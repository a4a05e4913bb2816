//! Apps that use servers on the network, through gems and Ruby's own libraries: Redis, memcached, PostgreSQL, nginx with
//! TLS and a mail server. The servers and the gems are Debian's.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use corundum_test_support::node::{Repository, TestNode};
use corundum_test_support::ports::free_port;
use corundum_test_support::postgres::PostgresServer;
use corundum_test_support::process::skip;
use corundum_test_support::wait::poll;

/// A server of a test. It is killed when the value is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts a server, and waits until it accepts connections on its port.
    fn start(port: u16, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut server = Self {
            process: command.spawn().unwrap(),
            port,
        };
        let listens = || TcpStream::connect(("127.0.0.1", port)).ok();
        if poll(Duration::from_secs(30), listens).is_none() {
            panic!("{command:?} ended: {:?}", server.process.try_wait());
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether a program and gems of Debian are installed. Otherwise the test is skipped.
pub(crate) fn installed(program: &str, gems: &[&str]) -> bool {
    let specifications = "/usr/share/rubygems-integration/all/specifications";
    let has_gem = |gem: &&str| {
        let files = std::fs::read_dir(specifications)
            .into_iter()
            .flatten()
            .flatten();
        let mut names = files.filter_map(|file| file.file_name().into_string().ok());
        names.any(|name| {
            name.strip_prefix(*gem).is_some_and(|rest| {
                rest.starts_with("-") && rest[1..].starts_with(char::is_numeric)
            })
        })
    };
    let missing: Vec<_> = gems.iter().filter(|gem| !has_gem(gem)).collect();
    let has_program = ["/usr/bin", "/usr/sbin"]
        .iter()
        .any(|folder| Path::new(folder).join(program).exists());
    if !missing.is_empty() || !has_program {
        skip(&format!(
            "{program} or the gems {missing:?} are missing: script/test installs them"
        ));
        return false;
    }
    true
}

/// Gems that Ruby brings along, with their versions in the default series.
const BUNDLED: [(&str, &str); 3] = [
    ("net-protocol", "0.2.2"),
    ("net-smtp", "0.5.1"),
    ("timeout", "0.4.1"),
];

/// Writes an app with gems of Debian, and those that Ruby brings along. Its code returns the text of the response for `env`.
pub(crate) fn write_app(app: &Repository, gems: &[(&str, &[&str])], setup: &str, code: &str) {
    let gemfile = gems
        .iter()
        .map(|(gem, _)| format!("gem {gem:?}\n"))
        .collect::<String>();
    app.write(
        "Gemfile",
        &format!("source \"https://rubygems.org\"\n{gemfile}"),
    );
    let folder = "/usr/share/rubygems-integration/all/specifications";
    let version = |gem: &str| {
        let bundled = BUNDLED.iter().find(|(name, _)| *name == gem);
        if let Some((_, version)) = bundled {
            return Some((*version).to_owned());
        }
        let files = std::fs::read_dir(folder).unwrap().flatten();
        let mut names = files.filter_map(|file| file.file_name().into_string().ok());
        names.find_map(|name| {
            let version = name
                .strip_prefix(gem)?
                .strip_prefix('-')?
                .strip_suffix(".gemspec")?;
            version
                .starts_with(char::is_numeric)
                .then(|| version.to_owned())
        })
    };
    let mut specs: Vec<String> = Vec::new();
    for (gem, needed) in gems {
        let needs: String = needed
            .iter()
            .map(|needed| format!("      {needed}\n"))
            .collect();
        specs.push(format!("    {gem} ({})\n{needs}", version(gem).unwrap()));
        specs.extend(
            needed
                .iter()
                .map(|gem| format!("    {gem} ({})\n", version(gem).unwrap())),
        );
    }
    specs.sort();
    // A gem may stand for itself and as a dependency: the entry with its own dependencies comes last.
    specs.reverse();
    specs.dedup_by(|one, other| one.lines().next() == other.lines().next());
    specs.reverse();
    let dependencies: String = gems.iter().map(|(gem, _)| format!("  {gem}\n")).collect();
    if !gems.is_empty() {
        let lock = format!(
            "GEM\n  remote: https://rubygems.org/\n  specs:\n{}\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n{dependencies}\nBUNDLED WITH\n   2.4.1\n",
            specs.concat()
        );
        app.write("Gemfile.lock", &lock);
    }
    app.write(
        "config.ru",
        &format!(
            "{setup}\nrun lambda {{ |env|\n  text = begin\n    {code}\n  rescue => error\n    \"#{{error.class}}: #{{error.message}} #{{error.backtrace.first(5).join(' ')}}\"\n  end\n  [200, {{}}, [text.to_s]]\n}}\n"
        ),
    );
}

/// Deploys the app with a grant for each server, and returns its response.
fn response(node: &TestNode, app: &Repository, name: &str, ports: &[u16]) -> String {
    for port in ports {
        let target = format!("tcp://127.0.0.1:{port}");
        let granted = node.cli(&["outbound:add", &target, "-a", name]);
        granted.assert_success();
    }
    app.assert_pushed();
    let (status, body) = node.get(name, "/");
    assert_eq!(status, 200, "{body}");
    body
}

#[test]
fn redis_serves_an_app() {
    if !installed("redis-server", &["redis"]) {
        return;
    }
    let port = free_port();
    let server = Server::start(
        port,
        Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--dir",
                "/tmp",
            ])
            .stdout(Stdio::null()),
    );
    let node = TestNode::start();
    let app = node.create("cached");
    write_app(
        &app,
        &[("redis", &[])],
        "require 'redis'",
        &format!(
            "redis = Redis.new(host: '127.0.0.1', port: {port}, timeout: 10)
             redis.del('count')
             redis.set('greeting', 'x' * 100_000)
             counts = redis.pipelined {{ |pipe| 3.times {{ pipe.incr('count') }} }}
             redis.lpush('list', 'entry')
             [redis.get('greeting').size, counts, redis.blpop('list', timeout: 5), redis.info['redis_mode']].inspect"
        ),
    );
    let expected = r#"[100000, [1, 2, 3], ["list", "entry"], "standalone"]"#;
    assert_eq!(response(&node, &app, "cached", &[server.port]), expected);
    drop(server);
    let (_, body) = node.get("cached", "/");
    assert!(body.starts_with("Redis::CannotConnectError"), "{body}");
}

#[test]
fn memcached_serves_an_app() {
    if !installed("memcached", &["dalli"]) {
        return;
    }
    let port = free_port();
    let server = Server::start(
        port,
        Command::new("memcached").args([
            "-u",
            "nobody",
            "-l",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ]),
    );
    let node = TestNode::start();
    let app = node.create("cached");
    write_app(
        &app,
        &[("dalli", &[])],
        "require 'dalli'",
        &format!(
            "cache = Dalli::Client.new('127.0.0.1:{port}', socket_timeout: 10)
             cache.set('list', [1, {{ two: 3 }}])
             cache.set('large', 'x' * 300_000)
             [cache.get('list'), cache.get('large').size, cache.get('absent'), cache.incr(\"count-#{{rand}}\", 1, nil, 5)].inspect"
        ),
    );
    let expected = "[[1, {:two=>3}], 300000, nil, 5]";
    assert_eq!(response(&node, &app, "cached", &[server.port]), expected);
}

#[test]
fn nginx_with_tls_serves_http_clients() {
    if !installed("nginx", &["excon", "faraday"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    openssl.args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    let port = free_port();
    std::fs::write(path("page.txt"), "x".repeat(3_000_000)).unwrap();
    std::fs::write(
        path("nginx.conf"),
        format!(
            "daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log;
             events {{}}
             http {{
               access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
               uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
               server {{
                 listen 127.0.0.1:{port} ssl http2; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem;
                 ssl_client_certificate {0}/cert.pem; ssl_verify_client optional; root {0};
                 location = /tls {{ return 200 \"$ssl_protocol $ssl_cipher $ssl_server_name $ssl_client_verify $ssl_session_reused\"; }}
               }}
             }}",
            directory.path().display()
        ),
    )
    .unwrap();
    // Its workers read the files as another user.
    let mut open = Command::new("chmod");
    assert!(
        open.args(["-R", "a+rX", &path("")])
            .status()
            .unwrap()
            .success()
    );
    let server = Server::start(
        port,
        Command::new("nginx").args(["-c", &path("nginx.conf")]),
    );
    let node = TestNode::start();
    let app = node.create("client");
    app.write(
        "ca.pem",
        &std::fs::read_to_string(path("cert.pem")).unwrap(),
    );
    app.write(
        "key.pem",
        &std::fs::read_to_string(path("key.pem")).unwrap(),
    );
    write_app(
        &app,
        &[
            ("excon", &[]),
            ("faraday", &["multipart-post", "ruby2_keywords"]),
        ],
        "require 'excon'; require 'faraday'; require 'net/http'; require 'open-uri'",
        &format!(
            r##"url = "https://127.0.0.1:{port}"
             http = Net::HTTP.new("localhost", {port}); http.use_ssl = true; http.ca_file = "/app/ca.pem"
             http.ipaddr = "127.0.0.1"
             results = {{}}
             results[:tls] = http.start {{ http.get("/tls").body }}
             results[:size] = http.start {{ http.get("/page.txt").body.size }}
             client = Net::HTTP.new("localhost", {port}); client.use_ssl = true; client.ca_file = "/app/ca.pem"; client.ipaddr = "127.0.0.1"
             client.cert = OpenSSL::X509::Certificate.new(File.read("/app/ca.pem")); client.key = OpenSSL::PKey.read(File.read("/app/key.pem"))
             results[:client] = client.start {{ client.get("/tls").body }}[/SUCCESS/]
             results[:unverified] = begin; Net::HTTP.get(URI("#{{url}}/tls")); rescue OpenSSL::SSL::SSLError => e; e.message[/certificate verify failed/]; end
             results[:excon] = Excon.get("#{{url}}/tls", ssl_ca_file: "/app/ca.pem").body.split.first
             results[:faraday] = Faraday.new(url, ssl: {{ ca_file: "/app/ca.pem" }}).get("/tls").body.split.first
             results[:open_uri] = URI.open("#{{url}}/page.txt", ssl_ca_cert: "/app/ca.pem").read.size
             ENV["SSL_CERT_FILE"] = "/app/ca.pem"
             default = Net::HTTP.new("127.0.0.1", {port}); default.use_ssl = true
             default.cert_store = OpenSSL::X509::Store.new.tap(&:set_default_paths)
             results[:env] = default.get("/tls").body.split.first
             ENV.delete("SSL_CERT_FILE")
             context = OpenSSL::SSL::SSLContext.new; context.alpn_protocols = ["h2", "http/1.1"]; context.session_cache_mode = OpenSSL::SSL::SSLContext::SESSION_CACHE_CLIENT
             socket = OpenSSL::SSL::SSLSocket.new(TCPSocket.new("127.0.0.1", {port}), context).tap(&:connect)
             results[:alpn] = socket.alpn_protocol
             results.inspect"##
        ),
    );
    let body = response(&node, &app, "client", &[server.port]);
    for part in [
        ":tls=>\"TLSv1.3 TLS_CHACHA20_POLY1305_SHA256 localhost NONE .\"",
        ":size=>3000000",
        ":client=>\"SUCCESS\"",
        ":unverified=>\"certificate verify failed\"",
        ":excon=>\"TLSv1.3\"",
        ":faraday=>\"TLSv1.3\"",
        ":open_uri=>3000000",
        ":env=>\"TLSv1.3\"",
        ":alpn=>\"h2\"",
    ] {
        assert!(body.contains(part), "{part} is missing in {body}");
    }
}

/// Speaks PostgreSQL's protocol (version 3.0, "Message Flow"), since the gem `pg` is a binding of a C library.
const POSTGRESQL_CLIENT: &str = r#"
    require 'socket'
    class Client
      def initialize(port)
        @socket = TCPSocket.new('127.0.0.1', port)
        parameters = "user\0app\0database\0postgres\0\0"
        @socket.write([8 + parameters.bytesize, 196_608].pack('NN'), parameters)
        receive
      end

      def query(text)
        @socket.write('Q', [5 + text.bytesize].pack('N'), text, "\0")
        receive
      end

      # Returns the rows, and raises what the server reports.
      def receive
        rows, failure = [], nil
        loop do
          type, length = @socket.read(5).unpack('aN')
          body = @socket.read(length - 4).to_s
          case type
          when 'D' then rows << columns(body)
          when 'E' then failure = body
          when 'Z' then failure ? raise(failure[/M([^\0]+)/, 1]) : (return rows)
          end
        end
      end

      def columns(body)
        count, rest = body.unpack('na*')
        Array.new(count) do
          length, rest = rest.unpack('Na*')
          value, rest = rest.unpack("a#{length}a*")
          value
        end
      end
    end
"#;

#[test]
fn postgresql_serves_an_app() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let port = server.port();
    let node = TestNode::start();
    let app = node.create("database");
    write_app(
        &app,
        &[],
        POSTGRESQL_CLIENT,
        &format!(
            "client = (1..20).each do
               break Client.new({port})
             rescue RuntimeError
               sleep 0.2
             end
             client.query('create temporary table visits (path text)')
             client.query(\"insert into visits values ('/'), ('/ü')\")
             rows = client.query('select path, length(path) from visits order by 1')
             failure = client.query('select 1 / 0') rescue $!.message
             large = client.query(\"select repeat('x', 3000000)\")[0][0].size
             [rows.map {{ |row| row.map {{ |text| text.dup.force_encoding('UTF-8') }} }}, failure, large].inspect"
        ),
    );
    let expected = r#"[[["/", "1"], ["/ü", "2"]], "division by zero", 3000000]"#;
    assert_eq!(response(&node, &app, "database", &[port]), expected);
}

#[test]
fn mail_is_delivered_to_a_server() {
    // Debian's Python has Debian's module; another python3 may come first in PATH.
    let has_server = Command::new("/usr/bin/python3")
        .args(["-c", "import aiosmtpd"])
        .stderr(Stdio::null())
        .status();
    if !has_server.is_ok_and(|status| status.success())
        || !installed("python3", &["mail", "mini_mime"])
    {
        skip("aiosmtpd (apt-get install python3-aiosmtpd ruby-mail): no mail is sent");
        return;
    }
    let port = free_port();
    let mut command = Command::new("/usr/bin/python3");
    command.args([
        "-u",
        "-m",
        "aiosmtpd",
        "-n",
        "-l",
        &format!("127.0.0.1:{port}"),
    ]);
    let mut server = Server::start(port, command.stdout(Stdio::piped()));
    let received = BufReader::new(server.process.stdout.take().unwrap());
    let node = TestNode::start();
    let app = node.create("mailer");
    write_app(
        &app,
        &[
            ("mail", &["mini_mime"]),
            ("net-protocol", &["timeout"]),
            ("net-smtp", &["net-protocol"]),
        ],
        "require 'mail'",
        &format!(
            "Mail.defaults {{ delivery_method :smtp, address: '127.0.0.1', port: {port}, enable_starttls_auto: false }}
             Mail.deliver {{ from 'a@example.com'; to 'b@example.com'; subject 'Grüße'; body 'from a dyno' }}
             'sent'"
        ),
    );
    assert_eq!(response(&node, &app, "mailer", &[server.port]), "sent");
    let mut lines = received.lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("from a dyno")));
}

#[test]
fn net_ssh_loads() {
    if !installed("ruby", &["net-ssh"]) {
        return;
    }
    let node = TestNode::start();
    let app = node.create("shell");
    write_app(
        &app,
        &[("net-ssh", &[])],
        "require 'net/ssh'",
        "Net::SSH::Version::CURRENT.to_s[/^\\d/]",
    );
    assert_eq!(response(&node, &app, "shell", &[]), "7");
}

#[test]
fn sample_is_refused_an_address_that_its_list_lacks() {
    let node = TestNode::start();
    let fetch = node.create("fetch");
    fetch.copy_sample("fetch");
    fetch.assert_pushed();
    let (status, body) = node.get("fetch", "/?url=https://192.0.2.9/");
    assert!(status == 502 && body.starts_with("Errno::EACCES"), "{body}");
    node.wait_for_log(
        "fetch",
        "the operator allows it by: corundum outbound:add https://192.0.2.9",
    );
}
