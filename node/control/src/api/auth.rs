//! Who may use the API: tokens, given out once to the node's own user, kept as hashes.

use std::net::{IpAddr, SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use corundum_store::NewToken;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Answer, Refusal, ok};
use crate::platform::Platform;
use crate::secret;

/// A header that no web page can make a browser send here without asking first.
const CLIENT: &str = "x-corundum-client";

/// What a proxy adds to a request: its client may be anywhere.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
];

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Gives a token to the node's own user, on the node's own machine, without one: the kernel says whose the
/// connection is.
pub(crate) fn login(platform: &Platform, ends: Ends, request: &Request<Incoming>) -> Answer {
    let user = rustix::process::getuid().as_raw();
    if !is_direct(ends, request.headers()) || owner_of(ends) != Some(user) {
        let message =
            "A first token is given only on the node's own machine, to the user that runs the node";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    let token = secret::new();
    platform.store().add_token(&NewToken {
        hash: hash(&token),
        description: "corundum login".to_owned(),
        abridged: abridged(&token),
        expires_at: None,
    })?;
    ok(&json!({"token": token}))
}

/// Whether a request comes from a program of this machine that means this node: not from a web page, by whatever name
/// it was reached, and not through a proxy.
fn is_direct(ends: Ends, headers: &HeaderMap) -> bool {
    let host = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let ip = host
        .parse::<SocketAddr>()
        .map(|address| address.ip())
        .or_else(|_| host.parse::<IpAddr>());
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    let local_name = name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
    ends.peer.ip().to_canonical().is_loopback()
        && local_name
        && headers.contains_key(CLIENT)
        && FORWARDED.iter().all(|name| !headers.contains_key(*name))
}

/// The user whose socket is the other end of the connection, by proc_net(5).
fn owner_of(ends: Ends) -> Option<u32> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| owner_in(&std::fs::read_to_string(table).ok()?, ends))
}

/// The same in a table's text. Both addresses must be the connection's: whoever may choose a port of his own could else
/// choose that of another's connection, or the node's.
fn owner_in(table: &str, ends: Ends) -> Option<u32> {
    let (peer, local) = (shown(ends.peer), shown(ends.local));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let ours = |field: usize, address: &[String; 2]| {
            fields
                .get(field)
                .is_some_and(|text| address.iter().any(|a| a == text))
        };
        // 01 is an established connection.
        let found = ours(1, &peer) && ours(2, &local) && fields.get(3) == Some(&"01");
        found.then(|| fields.get(7)?.parse().ok()).flatten()
    })
}

/// An address as the tables have it: words in the machine's order of bytes. One of IPv4 stands in either table.
fn shown(address: SocketAddr) -> [String; 2] {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| {
            let word = word.try_into().map_or(0, u32::from_ne_bytes);
            format!("{word:08X}")
        });
        words.collect()
    };
    let port = address.port();
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => [
            format!("{}:{port:04X}", words(&ip.octets())),
            format!("{}:{port:04X}", words(&ip.to_ipv6_mapped().octets())),
        ],
        IpAddr::V6(ip) => {
            let text = format!("{}:{port:04X}", words(&ip.octets()));
            [text.clone(), text]
        }
    }
}

/// Returns the first and the last characters of a token, so that its owner can tell it apart in a listing. The ten
/// asterisks between them are those of the Platform API, by which clients recognise their own token.
fn abridged(token: &str) -> String {
    let first: String = token.chars().take(4).collect();
    let last: String = token
        .chars()
        .skip(token.chars().count().saturating_sub(4))
        .collect();
    format!("{first}**********{last}")
}

fn hash(token: &str) -> String {
    format!("{:x}", Sha256::digest(token.as_bytes()))
}

/// Whether a request carries a token, as a bearer's or as the password that git sends.
pub(crate) fn authorized(platform: &Platform, headers: &HeaderMap) -> bool {
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
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(peer: &str, local: &str) -> Ends {
        Ends {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, http::HeaderValue::from_str(value).unwrap())
        });
        pairs.collect()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_connections_owner_is_found_by_both_of_its_addresses() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
            0: 0100007F:1F91 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000 0 1\n\
            1: 0200007F:1F91 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  2000 0 1\n\
            2: 0100007F:C350 0100007F:1F91 01 00000000:00000000 00:00000000 00000000  3000 0 1\n";
        // A client that has chosen the node's own port is not taken for the node.
        let chosen = ends("127.0.0.2:8081", "127.0.0.1:8081");
        assert_eq!(owner_in(table, chosen), Some(2000));
        let usual = ends("127.0.0.1:50000", "127.0.0.1:8081");
        assert_eq!(owner_in(table, usual), Some(3000));
        assert_eq!(owner_in(table, ends("127.0.0.1:1", "127.0.0.1:8081")), None);
        let six = "sl\n 0: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1F91 01 0 0 0 4000 0\n";
        assert_eq!(owner_in(six, usual), Some(4000));
    }

    #[test]
    fn a_login_comes_straight_from_a_program_of_this_machine() {
        let here = ends("127.0.0.1:5", "127.0.0.1:8081");
        let named = |host| headers(&[("host", host), (CLIENT, "cli")]);
        for host in [
            "localhost:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "localhost",
        ] {
            assert!(is_direct(here, &named(host)), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8081",
            "10.0.0.1:8081",
            "",
        ] {
            assert!(!is_direct(here, &named(host)), "{host}");
        }
        assert!(!is_direct(here, &headers(&[("host", "localhost")])));
        let proxied = headers(&[
            ("host", "localhost"),
            (CLIENT, "cli"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        assert!(!is_direct(here, &proxied));
        assert!(!is_direct(
            ends("10.0.0.1:5", "10.0.0.2:8081"),
            &named("localhost")
        ));
    }

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
