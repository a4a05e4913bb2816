//! WebSockets: an app takes over its client's connection, over HTTP/1.1 and HTTP/2.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use corundum_test_support::http1;
use corundum_test_support::node::TestNode;

/// An app that answers frames on the connection that it takes over, and knows its dyno's clients.
const ECHO: &str = r##"
require "digest"

class Session
  GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  def initialize(env)
    key = env["HTTP_SEC_WEBSOCKET_KEY"]
    @io = env["rack.hijack"].call
    @io.write "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
              "Sec-WebSocket-Accept: #{Digest::SHA1.base64digest(key + GUID)}\r\nX-Dyno: #{ENV['DYNO']}\r\n\r\n"
  end

  def run
    while (head = @io.read(2))
      opcode = head.getbyte(0) & 15
      length = head.getbyte(1) & 127
      length = @io.read(2).unpack1("n") if length == 126
      length = @io.read(8).unpack1("Q>") if length == 127
      mask = @io.read(4).bytes
      payload = @io.read(length).bytes.each_with_index.map { |byte, at| byte ^ mask[at & 3] }.pack("C*")
      case opcode
      when 8 then send_frame(8, payload); break
      when 9 then send_frame(10, payload)
      else send_frame(opcode, payload == "many" ? "x" * 200_000 : payload.reverse)
      end
    end
    puts "session ends"
  ensure
    @io.close
  end

  def send_frame(opcode, payload)
    head = [0x80 | opcode].pack("C")
    head << (payload.bytesize < 126 ? [payload.bytesize].pack("C") : [127, payload.bytesize].pack("CQ>"))
    @io.write(head, payload)
  end
end

run lambda { |env|
  return [200, {}, ["plain #{env['rack.hijack'].nil?}"]] unless env["HTTP_UPGRADE"]
  case env["PATH_INFO"]
  when "/refuse" then [403, { "content-type" => "text/plain" }, ["not you"]]
  when "/raise" then raise "no socket"
  when "/silent" then env["rack.hijack"].call.close
  when "/other" then env["rack.hijack"].call.tap { |io| io.write("HTTP/1.1 200 OK\r\n\r\nhello"); io.close }
  when "/stay" then s = Session.new(env); Thread.new { sleep }; [-1, {}, []]
  else
    session = Session.new(env)
    Thread.new { session.run }
    [-1, {}, []]
  end
}
"##;

fn node() -> TestNode {
    let node = TestNode::start();
    node.deploy("myapp", ECHO);
    node
}

/// A client of a WebSocket.
struct Client(TcpStream);

impl Client {
    fn request(node: &TestNode, path: &str, key: &str) -> (TcpStream, String) {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: myapp.localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        let mut stream = http1::open(node.http(), &head);
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
            head.push(byte[0]);
        }
        (stream, String::from_utf8(head).unwrap())
    }

    fn connect(node: &TestNode) -> (Self, String) {
        let (stream, head) = Self::request(node, "/socket", "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
            "{head}"
        );
        (Self(stream), head.to_lowercase())
    }

    fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [1, 2, 3, 4];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.0.write_all(&frame).unwrap();
    }

    /// Reads a frame. Returns `None` at the end of the connection.
    fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        let length = match head[1] & 127 {
            127 => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length) as usize
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[0] & 15, payload))
    }

    fn echoes(&mut self, text: &str) {
        self.send(1, text.as_bytes());
        let back: String = text.chars().rev().collect();
        assert_eq!(self.receive(), Some((1, back.into_bytes())));
    }
}

#[test]
fn app_takes_over_the_connection_and_answers_frames() {
    let node = node();
    let (mut client, head) = Client::connect(&node);
    for line in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
    client.echoes("hello");
    client.send(9, b"ping");
    assert_eq!(client.receive(), Some((10, b"ping".to_vec())));
    client.send(1, b"many");
    assert_eq!(client.receive().unwrap().1.len(), 200_000);
    client.echoes(&"x".repeat(60_000));
    // Other requests go to other dynos meanwhile.
    assert_eq!(node.get("myapp", "/"), (200, "plain true".to_owned()));
    client.send(8, &[0x03, 0xe8]);
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe8])));
    assert_eq!(client.receive(), None);
    let log = node.wait_for_log("myapp", "status=101");
    assert!(log.contains("at=info method=GET path=\"/socket\""), "{log}");
    // A client that goes without a word ends the session too.
    let (mut client, _) = Client::connect(&node);
    client.echoes("short");
    drop(client);
    node.wait_for_log("myapp", "session ends");
}

#[test]
fn each_connection_has_a_dyno_beside_the_formation() {
    let node = node();
    node.cli(&["ps:scale", "web=1", "--app", "myapp"])
        .assert_success();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(&node)).collect();
    let mut dynos: Vec<String> = clients
        .iter()
        .filter_map(|(_, head)| Some(head.split_once("x-dyno: ")?.1.lines().next()?.to_owned()))
        .collect();
    dynos.sort();
    dynos.dedup();
    assert_eq!(dynos.len(), 20);
    for (client, _) in &mut clients {
        client.echoes("still here");
    }
    assert_eq!(node.get("myapp", "/").0, 200);
    drop(clients);
    assert_eq!(node.get("myapp", "/").0, 200);
}

#[test]
fn app_that_does_not_switch_protocols_answers_as_any_request() {
    let node = node();
    let answer = |path: &str| Client::request(&node, path, "dGhlIHNhbXBsZSBub25jZQ==").1;
    assert!(
        answer("/refuse").starts_with("HTTP/1.1 403 "),
        "{}",
        answer("/refuse")
    );
    assert!(
        answer("/raise").starts_with("HTTP/1.1 500 "),
        "{}",
        answer("/raise")
    );
    assert!(
        answer("/silent").starts_with("HTTP/1.1 503 "),
        "{}",
        answer("/silent")
    );
    node.wait_for_log("myapp", "code=H13");
    assert!(
        answer("/other").starts_with("HTTP/1.1 503 "),
        "{}",
        answer("/other")
    );
    node.wait_for_log("myapp", "code=H17");
    // A request that is no handshake.
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let response = node.raw("myapp", "POST /", headers, "");
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    // Other protocols are offers, which the router declines.
    let headers = "Connection: Upgrade\r\nUpgrade: h2c\r\n";
    let response = node.raw("myapp", "GET /", headers, "");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.ends_with("plain true"), "{response}");
}

#[test]
fn deployment_closes_connections_with_the_status_of_a_server_that_goes_away() {
    let node = node();
    let (mut client, _) = Client::connect(&node);
    client.echoes("before");
    node.cli(&["config:set", "A=1", "--app", "myapp"])
        .assert_success();
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe9])));
    drop(client);
    let (mut client, _) = Client::connect(&node);
    client.echoes("after");
    // The end of the node closes them too.
    node.signal("TERM");
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe9])));
}
