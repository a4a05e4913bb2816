//! Frames and streams: RFC 9113 sections 4, 5, 6.1, 6.2, 6.10 and 8.1.

use crate::case::{
    FLOW_CONTROL, FRAME_SIZE, Http2Case, PROTOCOL, STREAM_CLOSED, ends, resets, serves,
};
use crate::frame::*;

pub(crate) fn cases() -> Vec<Http2Case> {
    let whole = block(&pseudo("GET", "/"));
    let (first, rest) = whole.split_at(10);
    let begun = frame(HEADERS, END_STREAM, 1, first);
    let padded = |pad: u8, body: &[u8], padding: usize| {
        let mut payload = vec![pad];
        payload.extend(body);
        payload.extend(vec![0; padding]);
        payload
    };
    let done = [post(1), data(1, END_STREAM, b"x")].concat();
    let with_priority = [&[0, 0, 0, 0, 16][..], &whole[..]].concat();
    let large = vec![0; (16 << 10) + 1];
    let largest = vec![b'x'; 16 << 10];
    let flood: Vec<u8> = (0..80)
        .flat_map(|_| data(1, 0, &vec![0; 16 << 10]))
        .collect();
    vec![
        serves("GET", "8.1", &[&get(1)]),
        serves("POST", "8.1", &[&post(1), &data(1, END_STREAM, b"hello")]),
        serves(
            "POST in pieces",
            "8.1",
            &[
                &post(1),
                &data(1, 0, b"he"),
                &data(1, 0, b""),
                &data(1, END_STREAM, b"llo"),
            ],
        ),
        serves(
            "body that ends with an empty frame",
            "6.1",
            &[&post(1), &data(1, 0, b"hello"), &data(1, END_STREAM, b"")],
        ),
        serves(
            "trailers",
            "8.1",
            &[
                &post(1),
                &data(1, 0, b"hello"),
                &headers(1, END_STREAM, &[("x", "1")]),
            ],
        ),
        serves("skipped stream numbers", "5.1.1", &[&get(1), &get(7)]),
        serves(
            "frame of an unknown kind",
            "4.1",
            &[&frame(0x7f, 0xff, 0, b"?"), &get(1)],
        ),
        serves(
            "frame of an unknown kind on a stream",
            "5.5",
            &[
                &post(1),
                &frame(0x7f, 0, 1, b"?"),
                &data(1, END_STREAM, b""),
            ],
        ),
        serves(
            "unknown flags",
            "4.1",
            &[&frame(PING, 0x16, 0, &[0; 8]), &get(1)],
        ),
        serves(
            "reserved bit",
            "4.1",
            &[
                &frame(WINDOW_UPDATE, 0, 0x8000_0000, &[0, 0, 0, 1]),
                &get(1),
            ],
        ),
        serves(
            "largest frame",
            "4.2",
            &[&post(1), &data(1, END_STREAM, &largest)],
        ),
        serves(
            "padding of DATA",
            "6.1",
            &[
                &post(1),
                &frame(DATA, END_STREAM | PADDED, 1, &padded(5, b"hi", 5)),
            ],
        ),
        serves(
            "padding of HEADERS",
            "6.2",
            &[&frame(
                HEADERS,
                END_STREAM | END_HEADERS | PADDED,
                1,
                &padded(5, &whole, 5),
            )],
        ),
        serves(
            "priority in HEADERS",
            "6.2",
            &[&frame(
                HEADERS,
                END_STREAM | END_HEADERS | WITH_PRIORITY,
                1,
                &with_priority,
            )],
        ),
        serves(
            "CONTINUATION",
            "6.10",
            &[&begun, &frame(CONTINUATION, END_HEADERS, 1, rest)],
        ),
        serves(
            "CONTINUATION twice",
            "6.10",
            &[
                &begun,
                &frame(CONTINUATION, 0, 1, &rest[..5]),
                &frame(CONTINUATION, END_HEADERS, 1, &rest[5..]),
            ],
        ),
        serves(
            "empty CONTINUATION",
            "6.10",
            &[
                &begun,
                &frame(CONTINUATION, 0, 1, b""),
                &frame(CONTINUATION, END_HEADERS, 1, rest),
            ],
        ),
        ends(
            "DATA too large",
            "4.2",
            &[&post(1), &data(1, 0, &large)],
            &[FRAME_SIZE],
        ),
        ends(
            "HEADERS too large",
            "4.2",
            &[&frame(HEADERS, END_STREAM | END_HEADERS, 1, &large)],
            &[FRAME_SIZE],
        ),
        ends(
            "frame of sixteen megabytes",
            "4.2",
            &[b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"],
            &[FRAME_SIZE, PROTOCOL],
        ),
        ends(
            "PRIORITY inside a block",
            "4.3",
            &[&begun, &frame(PRIORITY, 0, 1, &[0; 5])],
            &[PROTOCOL],
        ),
        ends(
            "HEADERS of another stream inside a block",
            "4.3",
            &[&begun, &get(3)],
            &[PROTOCOL],
        ),
        ends(
            "HEADERS of the same stream inside a block",
            "6.2",
            &[&begun, &get(1)],
            &[PROTOCOL],
        ),
        ends(
            "DATA inside a block",
            "6.10",
            &[&begun, &data(1, 0, b"x")],
            &[PROTOCOL],
        ),
        ends(
            "PING inside a block",
            "6.10",
            &[&begun, &frame(PING, 0, 0, &[0; 8])],
            &[PROTOCOL],
        ),
        ends(
            "unknown frame inside a block",
            "5.5",
            &[&begun, &frame(0x7f, 0, 1, b"")],
            &[PROTOCOL],
        ),
        ends(
            "CONTINUATION of another stream",
            "6.10",
            &[&begun, &frame(CONTINUATION, END_HEADERS, 3, rest)],
            &[PROTOCOL],
        ),
        ends(
            "CONTINUATION of stream 0",
            "6.10",
            &[&begun, &frame(CONTINUATION, END_HEADERS, 0, rest)],
            &[PROTOCOL],
        ),
        ends(
            "CONTINUATION without HEADERS",
            "6.10",
            &[&frame(CONTINUATION, END_HEADERS, 1, &whole)],
            &[PROTOCOL],
        ),
        ends(
            "CONTINUATION after a whole block",
            "6.10",
            &[&post(1), &frame(CONTINUATION, END_HEADERS, 1, rest)],
            &[PROTOCOL, STREAM_CLOSED],
        ),
        ends(
            "DATA on an idle stream",
            "5.1",
            &[&data(1, 0, b"x")],
            &[PROTOCOL, STREAM_CLOSED],
        ),
        ends(
            "RST_STREAM on an idle stream",
            "5.1",
            &[&reset(1, 8)],
            &[PROTOCOL],
        ),
        ends(
            "WINDOW_UPDATE on an idle stream",
            "5.1",
            &[&window(1, 1)],
            &[PROTOCOL],
        ),
        ends("even number of a stream", "5.1.1", &[&get(2)], &[PROTOCOL]),
        ends(
            "smaller number of a stream",
            "5.1.1",
            &[&get(5), &get(3)],
            &[PROTOCOL, STREAM_CLOSED],
        ),
        ends("HEADERS of stream 0", "6.2", &[&get(0)], &[PROTOCOL]),
        ends("DATA of stream 0", "6.1", &[&data(0, 0, b"x")], &[PROTOCOL]),
        ends(
            "padding longer than DATA",
            "6.1",
            &[&post(1), &frame(DATA, PADDED, 1, &padded(6, b"hi", 3))],
            &[PROTOCOL],
        ),
        ends(
            "padding longer than HEADERS",
            "6.2",
            &[&frame(
                HEADERS,
                END_HEADERS | PADDED,
                1,
                &padded(255, &whole, 0),
            )],
            &[PROTOCOL],
        ),
        ends(
            "padded DATA without a length",
            "6.1",
            &[&post(1), &frame(DATA, PADDED, 1, b"")],
            &[PROTOCOL, FRAME_SIZE],
        ),
        ends(
            "PUSH_PROMISE of a client",
            "8.4",
            &[&frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])],
            &[PROTOCOL],
        ),
        resets(
            "DATA after the end of a stream",
            "5.1",
            &[&get_of(1, "/slow"), &data(1, 0, b"x")],
            &[STREAM_CLOSED],
        ),
        resets(
            "HEADERS after the end of a stream",
            "5.1",
            &[&get_of(1, "/slow"), &get(1)],
            &[STREAM_CLOSED, PROTOCOL],
        ),
        resets(
            "DATA after the end of a body",
            "5.1",
            &[&done, &data(1, 0, b"x")],
            &[STREAM_CLOSED],
        ),
        resets(
            "DATA after RST_STREAM",
            "5.1",
            &[&post(1), &reset(1, 8), &data(1, 0, b"x"), &data(1, 0, b"y")],
            &[STREAM_CLOSED],
        ),
        resets(
            "second HEADERS without an end",
            "8.1",
            &[&post(1), &headers(1, 0, &[("x", "1")])],
            &[PROTOCOL],
        ),
        resets(
            "more than the window",
            "6.9.1",
            &[&headers(1, 0, &pseudo("POST", "/early")), &flood],
            &[FLOW_CONTROL, 0],
        ),
    ]
}
