//! Who may use the API: tokens, given out once to the node's own user, kept as hashes.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::platform::Platform;
use super::{Answer, Refusal, ok};

/// A header that no web page can make a browser send here without asking first.
const CLIENT: &str = "x-corundum-client";

/// Gives a token to the node's own user, on the node's own machine, without one: the kernel says whose the
/// connection is.
pub(super) fn login(platform: &Platform, peer: SocketAddr, request: &Request<Incoming>) -> Answer {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let local_name = name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let ours = peer.ip().is_loopback() && local_name && request.headers().contains_key(CLIENT);
    let user = rustix::process::getuid().as_raw();
    if !ours || !owner_of(peer).is_some_and(|owner| owner == user || owner == 0) {
        let message =
            "A first token is given only on the node's own machine, to the user that runs the node";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let token = format!(
        "{}{}",
        uuid::Uuid::new_v4().simple(),
        uuid::Uuid::new_v4().simple()
    );
    platform.store().add_token(&hash(&token))?;
    ok(&json!({"token": token}))
}

/// The user whose socket has this local address, by proc_net(5).
fn owner_of(peer: SocketAddr) -> Option<u32> {
    let port = format!("{:04X}", peer.port());
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1).and_then(|address| address.rsplit_once(':'));
            // 01 is an established connection; others may be remains of an earlier one.
            if local.is_some_and(|(_, p)| p == port) && fields.get(3) == Some(&"01") {
                return fields.get(7)?.parse().ok();
            }
        }
    }
    None
}

fn hash(token: &str) -> String {
    format!("{:x}", Sha256::digest(token.as_bytes()))
}

/// Whether a request carries a token, as a bearer's or as the password that git sends.
pub(super) fn authorized(platform: &Platform, headers: &HeaderMap) -> bool {
    let Some(value) = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let token = match value.split_once(' ') {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Some(token.to_owned()),
        Some((kind, encoded)) if kind.eq_ignore_ascii_case("basic") => password(encoded),
        _ => None,
    };
    token.is_some_and(|token| platform.store().has_token(&hash(&token)).unwrap_or(false))
}

/// The password of RFC 7617's credentials.
fn password(encoded: &str) -> Option<String> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0);
    for digit in encoded.trim_end_matches('=').bytes() {
        bits = bits << 6 | DIGITS.iter().position(|d| *d == digit)? as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::password;

    #[test]
    fn gits_credentials_are_read() {
        // RFC 7617 section 2.
        assert_eq!(
            password("QWxhZGRpbjpvcGVuIHNlc2FtZQ==").as_deref(),
            Some("open sesame")
        );
        assert_eq!(password("!!"), None);
    }
}
