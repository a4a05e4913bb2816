//! Control frames: RFC 9113 sections 6.3 to 6.9.

use crate::case::{
    FLOW_CONTROL, FRAME_SIZE, Http2Case, NO_ERROR, PROTOCOL, ends, gives, resets, serves,
};
use crate::frame::*;

pub(crate) fn cases() -> Vec<Http2Case> {
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    vec![
        serves(
            "PRIORITY",
            "6.3",
            &[&frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]), &get(1)],
        ),
        serves(
            "PRIORITY of a stream to come",
            "6.3",
            &[&frame(PRIORITY, 0, 99, &[0, 0, 0, 0, 1]), &get(1)],
        ),
        serves(
            "RST_STREAM with an unknown code",
            "7",
            &[&get(1), &post(3), &reset(3, 0xff)],
        ),
        serves("unknown setting", "6.5.2", &[&setting(0xff, 1), &get(1)]),
        serves(
            "empty SETTINGS",
            "6.5",
            &[&frame(SETTINGS, 0, 0, b""), &get(1)],
        ),
        serves(
            "PING that is an answer",
            "6.7",
            &[&frame(PING, ACK, 0, &[0; 8]), &get(1)],
        ),
        serves(
            "window of a stream that is closed",
            "6.9",
            &[&get(1), &post(3), &reset(3, 8), &window(3, 1)],
        ),
        gives(
            "SETTINGS are acknowledged",
            "6.5.3",
            &[&setting(3, 10)],
            (SETTINGS, ACK, b""),
        ),
        gives(
            "PING is answered",
            "6.7",
            &[&frame(PING, 0, 0, b"12345678")],
            (PING, ACK, b"12345678"),
        ),
        gives(
            "a window of one byte",
            "6.9.2",
            &[&setting(4, 1), &get(1)],
            (DATA, 0, b"h"),
        ),
        gives(
            "a window of nothing that grows",
            "6.9.2",
            &[&setting(4, 0), &get(1), &window(1, 1)],
            (DATA, 0, b"h"),
        ),
        ends(
            "PRIORITY of stream 0",
            "6.3",
            &[&frame(PRIORITY, 0, 0, &[0; 5])],
            &[PROTOCOL],
        ),
        ends(
            "RST_STREAM of stream 0",
            "6.4",
            &[&reset(0, 8)],
            &[PROTOCOL],
        ),
        ends(
            "RST_STREAM of another length",
            "6.4",
            &[&post(1), &frame(RST_STREAM, 0, 1, &[0; 3])],
            &[FRAME_SIZE],
        ),
        ends(
            "acknowledged SETTINGS with a payload",
            "6.5",
            &[&frame(SETTINGS, ACK, 0, &[0; 6])],
            &[FRAME_SIZE],
        ),
        ends(
            "SETTINGS of a stream",
            "6.5",
            &[&frame(SETTINGS, 0, 1, b"")],
            &[PROTOCOL],
        ),
        ends(
            "SETTINGS of another length",
            "6.5",
            &[&frame(SETTINGS, 0, 0, &[0; 5])],
            &[FRAME_SIZE],
        ),
        ends("ENABLE_PUSH of 2", "6.5.2", &[&setting(2, 2)], &[PROTOCOL]),
        ends(
            "INITIAL_WINDOW_SIZE too large",
            "6.5.2",
            &[&setting(4, 0x8000_0000)],
            &[FLOW_CONTROL],
        ),
        ends(
            "MAX_FRAME_SIZE too small",
            "6.5.2",
            &[&setting(5, 16_383)],
            &[PROTOCOL],
        ),
        ends(
            "MAX_FRAME_SIZE too large",
            "6.5.2",
            &[&setting(5, 1 << 24)],
            &[PROTOCOL],
        ),
        ends(
            "PING of a stream",
            "6.7",
            &[&frame(PING, 0, 1, &[0; 8])],
            &[PROTOCOL],
        ),
        ends(
            "PING of another length",
            "6.7",
            &[&frame(PING, 0, 0, &[0; 6])],
            &[FRAME_SIZE],
        ),
        ends(
            "GOAWAY of a stream",
            "6.8",
            &[&frame(GOAWAY, 0, 1, &[0; 8])],
            &[PROTOCOL],
        ),
        ends(
            "GOAWAY too short",
            "6.8",
            &[&frame(GOAWAY, 0, 0, &[0; 7])],
            &[FRAME_SIZE, PROTOCOL],
        ),
        ends("a client that goes away", "6.8", &[&goaway], &[NO_ERROR]),
        ends("WINDOW_UPDATE of 0", "6.9", &[&window(0, 0)], &[PROTOCOL]),
        ends(
            "WINDOW_UPDATE of another length",
            "6.9",
            &[&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1])],
            &[FRAME_SIZE],
        ),
        ends(
            "window of the connection too large",
            "6.9.1",
            &[&window(0, 0x7fff_ffff), &window(0, 0x7fff_ffff)],
            &[FLOW_CONTROL],
        ),
        ends(
            "windows of all streams too large",
            "6.9.2",
            &[&post(1), &window(1, 0x7000_0000), &setting(4, 0x7fff_ffff)],
            &[FLOW_CONTROL],
        ),
        resets(
            "PRIORITY of another length",
            "6.3",
            &[&post(1), &frame(PRIORITY, 0, 1, &[0; 4])],
            &[FRAME_SIZE],
        ),
        resets(
            "WINDOW_UPDATE of 0 on a stream",
            "6.9",
            &[&post(1), &window(1, 0)],
            &[PROTOCOL],
        ),
        resets(
            "window of a stream too large",
            "6.9.1",
            &[&post(1), &window(1, 0x7fff_ffff), &window(1, 0x7fff_ffff)],
            &[FLOW_CONTROL],
        ),
    ]
}
