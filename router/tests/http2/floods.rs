//! Floods that are cheap for a client and expensive for a server: the router ends or bounds each of them.

use std::time::Duration;

use corundum_router::limits::Limits;
use corundum_router::server::ServerLimits;

use crate::case::{CALM, NO_ERROR, PROTOCOL, REFUSED};
use crate::client::Http2Client;
use crate::frame::*;
use corundum_router_test_support::router::TestRouter;

/// Sends a flood until the server ends the connection. Returns the code of its GOAWAY.
async fn flood_until_goaway(
    client: &mut Http2Client,
    flood: impl Fn(u32) -> Vec<u8>,
    most: u32,
) -> u32 {
    for number in 0..most {
        if !client.send(&flood(number)).await {
            break;
        }
    }
    let goaway = client.until(|frame| frame.kind == GOAWAY).await.unwrap();
    let code = goaway.code();
    client.until_closed().await.unwrap();
    code
}

#[tokio::test]
async fn settings_announce_the_limits_of_the_router() {
    let router = TestRouter::start().await;
    let client = Http2Client::connect(&router).await;
    let setting = |wanted| {
        client
            .settings
            .iter()
            .find(|(id, _)| *id == wanted)
            .map(|(_, value)| *value)
    };
    assert_eq!(setting(3), Some(100), "MAX_CONCURRENT_STREAMS");
    // A head has 64 KiB; HTTP/2 counts 32 bytes more for each field.
    assert_eq!(setting(6), Some(80 << 10), "MAX_HEADER_LIST_SIZE");
    assert!(
        setting(4).is_some_and(|window| window <= 1 << 20),
        "INITIAL_WINDOW_SIZE"
    );
    assert_eq!(setting(8), Some(1), "ENABLE_CONNECT_PROTOCOL");
}

#[tokio::test]
async fn rapid_resets_by_the_client_end_the_connection() {
    // CVE-2023-44487.
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    let begin = |number: u32| [get_of(number * 2 + 1, "/slow"), reset(number * 2 + 1, 8)].concat();
    // One write sends all frames, so that no request starts before its reset.
    let all: Vec<u8> = (0..2000).flat_map(begin).collect();
    assert_eq!(
        flood_until_goaway(&mut client, |_| all.clone(), 1).await,
        CALM
    );
}

#[tokio::test]
async fn rapid_resets_by_the_server_end_the_connection() {
    // CVE-2025-8671: errors of the client make the server reset its own streams.
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    let spoil = |number: u32| {
        let stream = number * 2 + 1;
        [post(stream), window(stream, 0)].concat()
    };
    let code = flood_until_goaway(&mut client, spoil, 5000).await;
    assert!([CALM, PROTOCOL].contains(&code), "{code}");
}

#[tokio::test]
async fn endless_continuations_end_the_connection() {
    // CVE-2024-27316: CONTINUATION without END_HEADERS.
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    client
        .send(&frame(HEADERS, END_STREAM, 1, &block(&pseudo("GET", "/"))))
        .await;
    let more = block(&[("x", &"a".repeat(1000))]);
    let code = flood_until_goaway(&mut client, |_| frame(CONTINUATION, 0, 1, &more), 5000).await;
    assert!([CALM, PROTOCOL].contains(&code), "{code}");
}

#[tokio::test]
async fn empty_continuations_end_the_connection() {
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    client
        .send(&frame(HEADERS, END_STREAM, 1, &block(&pseudo("GET", "/"))))
        .await;
    let some = frame(CONTINUATION, 0, 1, b"").repeat(100);
    let code = flood_until_goaway(&mut client, |_| some.clone(), 1000).await;
    assert!([CALM, PROTOCOL].contains(&code), "{code}");
}

#[tokio::test]
async fn headers_over_the_announced_limit_are_431_or_a_stream_error() {
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    let fields = block(&[("x", &"a".repeat(8000))]);
    client
        .send(&frame(HEADERS, END_STREAM, 1, &block(&pseudo("GET", "/"))))
        .await;
    for _ in 0..9 {
        client.send(&frame(CONTINUATION, 0, 1, &fields)).await;
    }
    client.send(&frame(CONTINUATION, END_HEADERS, 1, b"")).await;
    let answer = client
        .until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
        .await
        .unwrap();
    assert!(
        answer.kind != HEADERS || answer.status() == 431,
        "{answer:?}"
    );
    assert!(router.grid.observed.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_hpack_bomb_is_431_or_a_stream_error() {
    // One large field enters the table, then single bytes refer to it.
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    let mut bomb = block(&pseudo("GET", "/"));
    // A value of 127 + 1 + 30 × 128 bytes, which fits a table of 4,096.
    bomb.extend(b"\x40\x01x\x7f\x81\x1e");
    bomb.extend(vec![b'a'; 127 + 1 + 30 * 128]);
    bomb.extend(vec![0xbe; 4000]);
    client
        .send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb))
        .await;
    let answer = client
        .until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
        .await
        .unwrap();
    assert!(
        answer.kind != HEADERS || answer.status() == 431,
        "{answer:?}"
    );
    assert!(router.grid.observed.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn empty_data_frames_end_the_connection_or_are_ignored() {
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    client.send(&post(1)).await;
    let some = data(1, 0, b"").repeat(1000);
    for _ in 0..100 {
        if !client.send(&some).await {
            return;
        }
    }
    client.send(&data(1, END_STREAM, b"end")).await;
    let answer = client
        .until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY))
        .await
        .unwrap();
    assert!(
        answer.kind != HEADERS || answer.status() == 200,
        "{answer:?}"
    );
}

/// A client floods the server with control frames and reads no answers: the server must stop reading rather than queue
/// answers.
#[tokio::test]
async fn unread_answers_to_control_frames_are_not_queued() {
    let router = TestRouter::start().await;
    for flood in [
        frame(PING, 0, 0, &[7; 8]),
        setting(3, 10),
        frame(SETTINGS, 0, 0, b""),
    ] {
        let mut client = Http2Client::connect(&router).await;
        let some = flood.repeat(10_000);
        let before = resident();
        let mut sent = 0;
        for _ in 0..400 {
            let took = tokio::time::timeout(Duration::from_millis(300), client.send(&some)).await;
            if took != Ok(true) {
                break;
            }
            sent += some.len();
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 32 << 10, "{grown} KiB for {sent} bytes of floods");
    }
    // Other clients are served meanwhile.
    assert!(router.get_raw("/", "").await.starts_with("HTTP/1.1 200 "));
}

/// Returns the resident memory of this process in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_stopped_router_sends_goaway_and_completes_open_streams() {
    let mut router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    client.send(&get_of(1, "/stream")).await;
    client.until(|frame| frame.kind == HEADERS).await.unwrap();
    router.stop();
    let goaway = client.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goaway.code(), NO_ERROR);
    let end = client
        .until(|frame| frame.stream == 1 && frame.flags & END_STREAM != 0)
        .await;
    end.unwrap();
    // The acknowledgement of the server's PING shows that the client has received GOAWAY.
    client
        .send(&frame(PING, ACK, 0, b"\x0b\x7b\xa2\xf0\x8b\x9b\xfe\x54"))
        .await;
    client.until_closed().await.unwrap();
}

#[tokio::test]
async fn a_client_that_never_opens_its_window_is_disconnected() {
    let limits = Limits {
        response_buffer: 64 << 10,
        client_idle: Duration::from_millis(200),
        ..Limits::default()
    };
    let router = TestRouter::start_with(ServerLimits::default(), limits).await;
    let mut client = Http2Client::connect(&router).await;
    client.send(&get_of(1, "/large")).await;
    router.line_with("code=H28").await;
    client.until_closed().await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_goaway() {
    let limits = ServerLimits {
        idle: Duration::from_millis(100),
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let mut client = Http2Client::connect(&router).await;
    let goaway = client.until(|frame| frame.kind == GOAWAY).await.unwrap();
    assert_eq!(goaway.code(), NO_ERROR);
    client.until_closed().await.unwrap();
}

#[tokio::test]
async fn streams_over_the_limit_are_refused_until_others_end() {
    let limits = ServerLimits {
        streams: 3,
        ..ServerLimits::default()
    };
    let router = TestRouter::start_with(limits, Limits::default()).await;
    let mut client = Http2Client::connect(&router).await;
    let four: Vec<u8> = [1, 3, 5, 7].into_iter().flat_map(post).collect();
    client.send(&four).await;
    let refused = client
        .until(|frame| frame.kind == RST_STREAM)
        .await
        .unwrap();
    assert_eq!((refused.stream, refused.code()), (7, REFUSED));
    client.send(&data(1, END_STREAM, b"x")).await;
    let ended = |frame: &ReceivedFrame| frame.stream == 1 && frame.flags & END_STREAM != 0;
    client.until(ended).await.unwrap();
    client.send(&get(9)).await;
    let answer = client.until(|frame| frame.kind == HEADERS).await.unwrap();
    assert_eq!((answer.stream, answer.status()), (9, 200));
}

#[tokio::test]
async fn a_window_may_become_negative_and_grow_again() {
    // RFC 9113 section 6.9.2.
    let router = TestRouter::start().await;
    let mut client = Http2Client::connect(&router).await;
    let body = |frame: &ReceivedFrame| frame.kind == DATA && !frame.payload.is_empty();
    client.send(&[setting(4, 3), get(1)].concat()).await;
    assert_eq!(client.until(body).await.unwrap().payload, b"hel");
    // The window is -2, then +1.
    client.send(&[setting(4, 1), window(1, 3)].concat()).await;
    assert_eq!(client.until(body).await.unwrap().payload, b"l");
    client.send(&window(1, 1)).await;
    assert_eq!(client.until(body).await.unwrap().payload, b"o");
}
