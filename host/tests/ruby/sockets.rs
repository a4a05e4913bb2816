//! Sockets and pipes of Ruby's own library, between the threads, fibers and files of one dyno.

use crate::harness::{TestApp, evaluating, request};

/// Methods that the tests call in the app.
const HELPERS: &str = r##"
require "socket"
require "timeout"
require "net/http"
require "resolv"
require "openssl"

def name_of_error
  yield
rescue SystemCallError, SocketError, IOError, Timeout::Error => error
  error.class.name
end

def connected
  server = TCPServer.new("127.0.0.1", 0)
  client = TCPSocket.new("127.0.0.1", server.addr[1])
  yield client, server.accept, server
end
"##;

/// Evaluates each text in the app, and compares the results, as `inspect` shows them.
async fn check(cases: &[(&str, &str)]) {
    let app = TestApp::boot(&evaluating(HELPERS)).await;
    let mut wrong = Vec::new();
    for (code, expected) in cases {
        let (status, result) = app.send(request("POST", "/", code)).await.unwrap();
        if (status, result.as_str()) != (200, expected) {
            wrong.push(format!("{code}\n  gives {result}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_sockets_of_one_dyno_meet() {
    check(&[
        (
            "connected { |a, b, s| a.write('hello'); b.close_write; [b.readpartial(99), a.read, a.eof?] }",
            r#"["hello", "", true]"#,
        ),
        (
            "connected { |a, b, s| [a.peeraddr(false)[0], a.peeraddr[1] == s.addr[1], b.peeraddr[1] == a.addr[1], a.local_address.ip?, a.remote_address.inspect_sockaddr == \"127.0.0.1:#{s.addr[1]}\"] }",
            r#"["AF_INET", true, true, true, true]"#,
        ),
        (
            "connected { |a, b, s| a.send('hello', 0); [b.recv(2, Socket::MSG_PEEK), b.recv(10)] }",
            r#"["he", "hello"]"#,
        ),
        (
            "connected { |a, b, s| r = [b.read_nonblock(5, exception: false), IO.select([b], nil, nil, 0.01)]; a.write('hi'); r << (IO.select([b], [a], nil, 5).map(&:size)) << b.read_nonblock(5) }",
            r#"[:wait_readable, nil, [1, 1, 0], "hi"]"#,
        ),
        (
            "connected { |a, b, s| n = 0; while (w = a.write_nonblock('x' * 10_000, exception: false)) != :wait_writable do n += w end; m = b.readpartial(1 << 20).size; [n == m, n > 10_000, a.write_nonblock('y')] }",
            "[true, true, 1]",
        ),
        (
            "connected { |a, b, s| b.close; name_of_error { 5.times { a.write('x') } } }",
            r#""Errno::EPIPE""#,
        ),
        (
            "s = TCPServer.new('::1', 0); a = TCPSocket.new('::1', s.addr[1]); [a.peeraddr(false)[0], a.peeraddr(false)[3], name_of_error { TCPSocket.new('127.0.0.1', s.addr[1]) }]",
            r#"["AF_INET6", "::1", "Errno::ECONNREFUSED"]"#,
        ),
        (
            "s = TCPServer.new(0); p = s.addr[1]; [TCPSocket.new('127.0.0.1', p).close, TCPSocket.new('::1', p).close, TCPSocket.new('localhost', p).close]",
            "[nil, nil, nil]",
        ),
        (
            "t = Socket.tcp_server_sockets('localhost', 0); a = Socket.tcp('localhost', t[0].local_address.ip_port, connect_timeout: 5); a.close; t.map { |s| s.local_address.afamily }.sort == [2, 10]",
            "true",
        ),
        (
            "a, b = UNIXSocket.pair; a.write('bye'); a.close_write; [b.read, b.eof?, name_of_error { a.write('x') }, a.peeraddr]",
            r#"["bye", true, "IOError", ["AF_UNIX", ""]]"#,
        ),
        (
            "a, b = UNIXSocket.pair(:DGRAM); a.send('one', 0); a.send('two', 0); [b.recv(2), b.recv(99), name_of_error { b.recv_nonblock(9) }]",
            r#"["on", "two", "IO::EAGAINWaitReadable"]"#,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_select_behave_as_on_linux() {
    check(&[
        ("r, w = IO.pipe; w.write('hi'); w.close; [r.read, r.eof?]", r#"["hi", true]"#),
        ("r, w = IO.pipe; r.close; name_of_error { w.write('x'); w.flush }", r#""Errno::EPIPE""#),
        ("r, w = IO.pipe; [IO.select([r], [w], nil, 0)&.map(&:size), w.write('x'), IO.select([r], nil, nil, 5)&.map(&:size)]", "[[0, 1, 0], 1, [1, 0, 0]]"),
        ("r, w = IO.pipe; [name_of_error { r.write('x') }, name_of_error { w.read }]", r#"["IOError", "IOError"]"#),
        ("r, w = IO.pipe; [r.read_nonblock(1, exception: false), r.fileno < 20, w.fileno < 20]", "[:wait_readable, true, true]"),
        ("r, w = IO.pipe; n = 0; loop { k = w.write_nonblock('x' * 4096, exception: false); break if k == :wait_writable; n += k }; n", "65536"),
        ("r, w = IO.pipe; IO.copy_stream(File.open('/app/config.ru'), w); w.close; r.read == File.read('/app/config.ru')", "true"),
        ("fds = 3.times.map { r, w = IO.pipe; f = r.fileno; r.close; w.close; f }; fds.uniq.size", "1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_one_dyno_arrive() {
    check(&[
        (
            "s = UDPSocket.new; s.bind('127.0.0.1', 0); c = UDPSocket.new; c.send('ping', 0, '127.0.0.1', s.addr[1]); m, from = s.recvfrom(99); s.send('pong', 0, from[3], from[1]); [m, from[0], c.recv(2), IO.select([c], nil, nil, 0)]",
            r#"["ping", "AF_INET", "po", nil]"#,
        ),
        (
            "s = UDPSocket.new(Socket::AF_INET6); s.bind('::1', 0); c = UDPSocket.new(Socket::AF_INET6); c.connect('::1', s.addr[1]); c.send('x', 0); s.recvfrom(9)[1][0]",
            r#""AF_INET6""#,
        ),
        (
            "s = UDPSocket.new; s.bind('127.0.0.1', 0); [name_of_error { s.recv_nonblock(9) }, name_of_error { UDPSocket.new.send('x', 0) }, name_of_error { s.send('x' * 70_000, 0, '127.0.0.1', s.addr[1]) }]",
            r#"["IO::EAGAINWaitReadable", "Errno::EDESTADDRREQ", "Errno::EMSGSIZE"]"#,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_errors_have_linux_numbers() {
    check(&[
        ("name_of_error { TCPSocket.new('127.0.0.1', 1) }", r#""Errno::ECONNREFUSED""#),
        ("name_of_error { TCPServer.new('127.0.0.1', 80) }", r#""Errno::EACCES""#),
        ("name_of_error { TCPServer.new('10.1.2.3', 8080) }", r#""Errno::EADDRNOTAVAIL""#),
        ("s = TCPServer.new('127.0.0.1', 0); name_of_error { TCPServer.new('127.0.0.1', s.addr[1]) }", r#""Errno::EADDRINUSE""#),
        ("s = TCPServer.new('127.0.0.1', 0); s.close; s2 = TCPServer.new('127.0.0.1', 4567); s2.close; TCPServer.new('127.0.0.1', 4567).close", "nil"),
        ("name_of_error { Socket.new(:INET, :STREAM).getpeername }", r#""Errno::ENOTCONN""#),
        ("name_of_error { Socket.new(:INET, :STREAM).shutdown }", r#""Errno::ENOTCONN""#),
        ("name_of_error { Socket.new(:INET, :RAW) }", r#""Errno::EPERM""#),
        ("name_of_error { UNIXSocket.new('/tmp/x') }", r#""Errno::EAFNOSUPPORT""#),
        ("name_of_error { Socket.new(:INET, :STREAM).setsockopt(:IP, 35, 1) }", r#""Errno::ENOPROTOOPT""#),
        ("name_of_error { Socket.new(:INET, :STREAM).accept_nonblock }", r#""Errno::EINVAL""#),
        ("name_of_error { TCPServer.new('127.0.0.1', 0).accept_nonblock }", r#""IO::EAGAINWaitReadable""#),
        ("s = TCPServer.new('127.0.0.1', 0); s.listen(2); n = 0; e = name_of_error { 10.times { TCPSocket.new('127.0.0.1', s.addr[1]); n += 1 } }; [n, e]", r#"[2, "Errno::ECONNREFUSED"]"#),
        ("a = []; e = name_of_error { 100_000.times { a << Socket.new(:INET, :STREAM) } }; n = a.size; a.each(&:close); [e, n > 900 && n < 1100, IO.pipe.size]", r#"["Errno::EMFILE", true, 2]"#),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_options_are_kept() {
    check(&[
        ("s = Socket.new(:INET, :STREAM); s.setsockopt(:TCP, :NODELAY, true); s.setsockopt(:SOCKET, :KEEPALIVE, true); [s.getsockopt(:TCP, :NODELAY).bool, s.getsockopt(:SOCKET, :KEEPALIVE).bool, s.getsockopt(:SOCKET, :TYPE).int, s.getsockopt(:SOCKET, :ERROR).int]", "[true, true, 1, 0]"),
        ("s = Socket.new(:INET, :STREAM); s.setsockopt(Socket.const_get(:SOL_SOCKET), Socket::SO_RCVTIMEO, [2, 500_000].pack('l_2')); s.getsockopt(:SOCKET, :RCVTIMEO).unpack('l2')", "[2, 500000]"),
        ("s = Socket.new(:INET, :STREAM); s.setsockopt(Socket::Option.linger(true, 0)); s.getsockopt(:SOCKET, :LINGER).linger", "[true, 0]"),
        ("connected { |a, b, s| [s.getsockopt(:SOCKET, :ACCEPTCONN).bool, a.getsockopt(:SOCKET, :RCVBUF).int > 1000] }", "[true, true]"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_need_no_server_resolve() {
    check(&[
        ("Addrinfo.tcp('127.0.0.1', 80).inspect_sockaddr", r#""127.0.0.1:80""#),
        ("Addrinfo.getaddrinfo('localhost', 'http', nil, :STREAM).map(&:inspect_sockaddr).sort", r#"["127.0.0.1:80", "[::1]:80"]"#),
        ("Addrinfo.getaddrinfo(nil, 80, nil, :STREAM, nil, Socket::AI_PASSIVE).map(&:ip_address).sort", r#"["0.0.0.0", "::"]"#),
        ("IPSocket.getaddress('127.1')", r#""127.0.0.1""#),
        ("[Socket.gethostname.empty?, IPSocket.getaddress(Socket.gethostname)]", r#"[false, "192.0.0.2"]"#),
        ("Socket.getifaddrs.map { |i| [i.name, i.addr&.ip_address] }", r#"[["lo", "127.0.0.1"], ["lo", "::1"], ["eth0", "192.0.0.2"]]"#),
        ("Socket.ip_address_list.count { |a| !a.ipv4_loopback? && a.ipv4? }", "1"),
        ("[Socket.getservbyname('https'), Socket.getservbyport(25)]", r#"[443, "smtp"]"#),
        ("[name_of_error { Addrinfo.tcp('no such host', 80) }, name_of_error { Addrinfo.tcp('x' * 300, 80) }]", r#"["Socket::ResolutionError", "Socket::ResolutionError"]"#),
        ("Socket.sockaddr_in(80, '::1').then { |s| Socket.unpack_sockaddr_in(s) }", r#"[80, "::1"]"#),
        ("Addrinfo.tcp('127.0.0.1', 80).getnameinfo", r#"["localhost", "http"]"#),
        ("Resolv::Hosts.new('/nonexistent') && Resolv::DNS::Name.create('example.com.').absolute?", "true"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_policy_refuses_other_machines() {
    check(&[
        (
            "name_of_error { TCPSocket.new('192.0.2.55', 80) }",
            r#""Errno::EACCES""#,
        ),
        (
            "name_of_error { UDPSocket.new.send('x', 0, '192.0.2.55', 53) }",
            r#""Errno::EACCES""#,
        ),
        (
            "name_of_error { TCPSocket.new('2001:db8::1', 80) }",
            r#""Errno::EACCES""#,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_of_the_boot_are_closed_in_dynos() {
    let app = TestApp::boot(
        r#"
        require "socket"
        SERVER = TCPServer.new("127.0.0.1", 4000)
        CLIENT = TCPSocket.new("127.0.0.1", 4000)
        READER, WRITER = IO.pipe
        LOG = File.open("/tmp/log", "w")
        run ->(env) {
          errors = [-> { CLIENT.write("x") }, -> { SERVER.accept_nonblock }, -> { READER.read(1) }].map do |use|
            use.call
          rescue IOError => error
            error.message
          end
          again = TCPServer.new("127.0.0.1", 4000)
          [200, {}, [errors.inspect, again.addr[1].to_s]]
        }"#,
    )
    .await;
    let (_, body) = app.get("/").await.unwrap();
    let closed = r#""closed stream""#;
    assert_eq!(body, format!("[{closed}, {closed}, {closed}]4000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dynos_do_not_meet_on_loopback() {
    let source = r#"
        require "socket"
        run ->(env) {
          $server ||= TCPServer.new("127.0.0.1", 7000)
          [200, {}, [$server.addr[1].to_s]]
        }"#;
    let (one, two) = (
        TestApp::boot(source).await,
        TestApp::boot(&evaluating(HELPERS)).await,
    );
    assert_eq!(one.get("/").await.unwrap().1, "7000");
    let connect = "name_of_error { TCPSocket.new('127.0.0.1', 7000) }";
    let (_, result) = two.send(request("POST", "/", connect)).await.unwrap();
    assert_eq!(result, r#""Errno::ECONNREFUSED""#);
    assert!(std::net::TcpStream::connect("127.0.0.1:7000").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_between_two_ends_of_a_dyno() {
    check(&[
        ("OpenSSL::SSL::SSLContext.new.ciphers.first[0]", r#""TLS_CHACHA20_POLY1305_SHA256""#),
        ("OpenSSL::SSL::SSLContext.new.ciphers.map(&:first).grep(/ECDHE/).first", r#""ECDHE-ECDSA-CHACHA20-POLY1305""#),
        ("s = OpenSSL::X509::Store.new; s.set_default_paths; [OpenSSL::X509::DEFAULT_CERT_FILE, File.read(OpenSSL::X509::DEFAULT_CERT_FILE).scan('BEGIN CERT').size > 100, File.exist?('/etc/ssl/certs/ca-certificates.crt')]", r#"["/usr/lib/ssl/cert.pem", true, true]"#),
    ])
    .await;
}
