//! WebSockets: an app takes over its client's connection, over HTTP/1.1 and HTTP/2.

use corundum_test_support::app_gems::node_with_services;
use corundum_test_support::node::TestNode;
use corundum_test_support::websocket::WebSocketClient;

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

fn connect(node: &TestNode) -> (WebSocketClient, String) {
    WebSocketClient::connect(node, "myapp", "/socket", "")
}

/// Sends a text and expects it back in reverse.
fn echoes(client: &mut WebSocketClient, text: &str) {
    client.send(1, text.as_bytes());
    let back: String = text.chars().rev().collect();
    assert_eq!(client.receive(), Some((1, back.into_bytes())));
}

#[test]
fn app_takes_over_the_connection_and_answers_frames() {
    let node = node();
    let (mut client, head) = connect(&node);
    for line in [
        "upgrade: websocket\r\n",
        "connection: upgrade\r\n",
        "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
        "x-request-id: ",
    ] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
    echoes(&mut client, "hello");
    client.send(9, b"ping");
    assert_eq!(client.receive(), Some((10, b"ping".to_vec())));
    client.send(1, b"many");
    assert_eq!(client.receive().unwrap().1.len(), 200_000);
    echoes(&mut client, &"x".repeat(60_000));
    // Other requests go to other dynos meanwhile.
    assert_eq!(node.get("myapp", "/"), (200, "plain true".to_owned()));
    client.send(8, &[0x03, 0xe8]);
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe8])));
    assert_eq!(client.receive(), None);
    let log = node.wait_for_log("myapp", "status=101");
    assert!(log.contains("at=info method=GET path=\"/socket\""), "{log}");
    // A client that goes without a word ends the session too.
    let (mut client, _) = connect(&node);
    echoes(&mut client, "short");
    drop(client);
    node.wait_for_log("myapp", "session ends");
}

#[test]
fn each_connection_has_a_dyno_beside_the_formation() {
    let node = node();
    node.cli(&["ps:scale", "web=1", "--app", "myapp"])
        .assert_success();
    let mut clients: Vec<_> = (0..20).map(|_| connect(&node)).collect();
    let mut dynos: Vec<String> = clients
        .iter()
        .filter_map(|(_, head)| Some(head.split_once("x-dyno: ")?.1.lines().next()?.to_owned()))
        .collect();
    dynos.sort();
    dynos.dedup();
    assert_eq!(dynos.len(), 20);
    for (client, _) in &mut clients {
        echoes(client, "still here");
    }
    assert_eq!(node.get("myapp", "/").0, 200);
    drop(clients);
    assert_eq!(node.get("myapp", "/").0, 200);
}

#[test]
fn app_that_does_not_switch_protocols_answers_as_any_request() {
    let node = node();
    let answer = |path: &str| WebSocketClient::request(&node, "myapp", path, "").1;
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
    let (mut client, _) = connect(&node);
    echoes(&mut client, "before");
    node.cli(&["config:set", "A=1", "--app", "myapp"])
        .assert_success();
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe9])));
    drop(client);
    let (mut client, _) = connect(&node);
    echoes(&mut client, "after");
    // The end of the node closes them too.
    node.signal("TERM");
    assert_eq!(client.receive(), Some((8, vec![0x03, 0xe9])));
}

#[test]
fn chat_between_dynos_goes_through_redis() {
    let Some(node) = node_with_services() else {
        return;
    };
    let chat = node.create("chat");
    chat.copy_sample("chat");
    let pushed = chat.assert_pushed();
    assert!(
        pushed.text.contains("(redis:mini) as REDIS_URL"),
        "{}",
        pushed.text
    );
    assert!(node.get("chat", "/").1.contains("new WebSocket("));
    assert_eq!(node.get("chat", "/room").0, 426);
    let join = || WebSocketClient::connect(&node, "chat", "/room", "").0;
    let (mut one, mut other) = (join(), join());
    one.send(1, b"hello");
    assert_eq!(other.receive_text("hello"), "hello");
    assert_eq!(one.receive_text("hello"), "hello");
    other.send(1, "grüß dich".as_bytes());
    assert_eq!(one.receive_text("gr"), "grüß dich");
    // A client that comes later reads what was said before.
    let mut late = join();
    assert_eq!(late.receive_text("hello"), "hello");
    assert_eq!(late.receive_text("gr"), "grüß dich");
    late.send(8, &[0x03, 0xe8]);
    assert_eq!(late.receive(), Some((8, vec![0x03, 0xe8])));
    assert_eq!(late.receive(), None);
}
