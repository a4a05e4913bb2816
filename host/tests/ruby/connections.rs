//! Connections of dynos to servers of the test, which behave well and badly.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use corundum_abi::outbound::{OutboundPolicy, OutboundTarget};
use corundum_host::grid::GridLimits;
use corundum_host::outbound::{AppOutbound, OutboundRules};

use crate::harness::{Options, TestApp, evaluating, request};

/// Methods that the tests call in the app.
const HELPERS: &str = r##"
require "socket"
require "timeout"
require "net/http"

def name_of_error
  yield
rescue SystemCallError, SocketError, IOError, Timeout::Error, Net::ProtocolError, Net::HTTPBadResponse => error
  error.class.name
end

def get(port, **options)
  http = Net::HTTP.new("127.0.0.1", port)
  http.max_retries = 0
  options.each { |name, value| http.public_send(:"#{name}=", value) }
  http.get("/")
end
"##;

/// Starts a server that passes each connection to `serve`. It runs until the test's process ends.
fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn read_request(stream: &mut TcpStream) {
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer);
}

/// Boots the app with grants for the endpoints.
async fn app_with(targets: &[String], limits: GridLimits) -> TestApp {
    let grants = targets
        .iter()
        .map(|target| target.parse::<OutboundTarget>().unwrap());
    let policy = OutboundPolicy {
        grants: grants.collect(),
        ..OutboundPolicy::default()
    };
    let options = Options {
        outbound: OutboundRules::new(None, AppOutbound::new(policy)),
        limits,
        ..Options::default()
    };
    TestApp::boot_with(&evaluating(HELPERS), options).await
}

async fn app_for(ports: &[u16]) -> TestApp {
    let targets: Vec<_> = ports
        .iter()
        .map(|port| format!("tcp://127.0.0.1:{port}"))
        .collect();
    app_with(&targets, GridLimits::default()).await
}

async fn result(app: &TestApp, code: &str) -> String {
    app.send(request("POST", "/", code)).await.unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn dyno_talks_to_a_server() {
    let http = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        read_request(&mut stream);
    });
    let echo = server(|mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = stream.write_all(&all);
    });
    let flood = server(|mut stream| {
        let _ = stream.write_all(&vec![7; 8 << 20]);
    });
    let app = app_for(&[http, echo, flood]).await;
    assert_eq!(
        result(&app, &format!("get({http}).body")).await,
        r#""hello""#
    );
    let code = format!(
        "s = TCPSocket.new('127.0.0.1', {echo}); s.write('x' * 3_000_000); s.close_write; s.read.size"
    );
    assert_eq!(result(&app, &code).await, "3000000");
    let code =
        format!("s = TCPSocket.new('127.0.0.1', {flood}); s.read.sum == 7 * (8 << 20) % 65536");
    assert_eq!(result(&app, &code).await, "true");
    let code = format!(
        "s = Socket.tcp('127.0.0.1', {echo}, connect_timeout: 10); [s.remote_address.inspect_sockaddr, s.local_address.ip_address, s.getsockopt(:SOCKET, :ERROR).int, IO.select([s], [s], nil, 0).map(&:size)]"
    );
    let expected = format!(r#"["127.0.0.1:{echo}", "192.0.0.2", 0, [0, 1, 0]]"#);
    assert_eq!(result(&app, &code).await, expected);
    let code = format!(
        "s = Socket.new(:INET, :STREAM); a = Socket.sockaddr_in({echo}, '127.0.0.1'); r = [s.connect_nonblock(a, exception: false)]; IO.select(nil, [s], nil, 10); r << s.connect_nonblock(a, exception: false); s.write('ab'); s.close_write; r << s.read"
    );
    assert_eq!(result(&app, &code).await, r#"[:wait_writable, 0, "ab"]"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_peers_raise_the_library_s_own_exceptions() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let silent = server(|stream| {
        thread::sleep(Duration::from_secs(120));
        drop(stream);
    });
    let resetting = server(|mut stream| {
        read_request(&mut stream);
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    });
    let garbage = server(|mut stream| {
        read_request(&mut stream);
        let _ = stream.write_all(&[0xff, 0, b'\n', 13, 10].repeat(1000));
    });
    let dripping = server(|mut stream| {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let app = app_for(&[closed, silent, resetting, garbage, dripping]).await;
    for (code, error) in [
        (format!("get({closed})"), "Errno::ECONNREFUSED"),
        (
            format!("get({silent}, read_timeout: 0.3)"),
            "Net::ReadTimeout",
        ),
        (format!("get({resetting})"), "Errno::ECONNRESET"),
        (format!("get({garbage})"), "Net::HTTPBadResponse"),
        (
            format!("Timeout.timeout(0.5) {{ get({dripping}) }}"),
            "Timeout::Error",
        ),
        (
            format!(
                "s = TCPSocket.new('127.0.0.1', {resetting}); s.write('x'); 100.times {{ s.write('x'); sleep 0.01 }}"
            ),
            "Errno::EPIPE",
        ),
    ] {
        let raised = result(&app, &format!("name_of_error {{ {code} }}")).await;
        let either = [format!("{error:?}"), r#""Errno::ECONNRESET""#.to_owned()];
        let fits = raised == either[0] || (error == "Errno::EPIPE" && raised == either[1]);
        assert!(fits, "{code}: {raised}");
    }
    // The app has outlived them all.
    assert_eq!(result(&app, "1 + 1").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_change() {
    let app = app_for(&[]).await;
    let raised = result(&app, "name_of_error { TCPSocket.new('10.1.2.3', 5432) }").await;
    assert_eq!(raised, r#""Errno::EACCES""#);
    let lines = app.log_lines().join("\n");
    assert!(
        lines.contains("corundum outbound:add tcp://10.1.2.3:5432"),
        "{lines}"
    );
    let raised = result(
        &app,
        "name_of_error { Addrinfo.tcp('no.such.invalid', 80) }",
    )
    .await;
    assert_eq!(raised, r#""Socket::ResolutionError""#);
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_come_from_correspondents_alone() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let port = socket.local_addr().unwrap().port();
    let answering = thread::spawn(move || {
        let mut buffer = [0; 100];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        let from: SocketAddr = (std::net::Ipv4Addr::LOCALHOST, from.port()).into();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"stranger", from).unwrap();
        socket.send_to(&buffer[..length], from).unwrap();
    });
    let app = app_with(&[format!("udp://127.0.0.1:{port}")], GridLimits::default()).await;
    let code = format!(
        "s = UDPSocket.new; s.send('ping', 0, '127.0.0.1', {port}); s.recvfrom(99).then {{ |m, a| [m, a[1] == {port}] }}"
    );
    assert_eq!(result(&app, &code).await, r#"["ping", true]"#);
    answering.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_of_a_timed_out_request_ends_with_its_dyno() {
    let (ended, has_ended) = mpsc::channel();
    let silent = server(move |mut stream| {
        let mut buffer = [0; 100];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        ended.send(()).unwrap();
    });
    let limits = GridLimits {
        first_byte: Duration::from_secs(2),
        ..GridLimits::default()
    };
    let app = app_with(&[format!("tcp://127.0.0.1:{silent}")], limits).await;
    let code = format!("$kept = TCPSocket.new('127.0.0.1', {silent}); $kept.read");
    assert!(app.send(request("POST", "/", &code)).await.is_err());
    has_ended.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!(result(&app, "1 + 1").await, "2");
}
