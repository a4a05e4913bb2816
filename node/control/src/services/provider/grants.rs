//! Grants that follow from config vars: an app reaches the private addresses in them that the operator's list covers.

use std::net::IpAddr;

use corundum_abi::outbound::{OutboundTarget, Transport, host_name, is_localhost};

/// Grants of one add-on.
const MAX_GRANTS: usize = 16;

/// Returns the targets in the values of config vars that `allowed` covers.
pub(super) fn of_values<'a>(
    values: impl Iterator<Item = &'a String>,
    allowed: &[OutboundTarget],
) -> Vec<OutboundTarget> {
    let mut targets: Vec<OutboundTarget> = values
        .flat_map(|value| value.split(','))
        .filter_map(endpoint)
        .filter_map(|(host, port)| target(&host, port, allowed))
        .collect();
    targets.sort();
    targets.dedup();
    targets.truncate(MAX_GRANTS);
    targets
}

fn target(host: &str, port: u16, allowed: &[OutboundTarget]) -> Option<OutboundTarget> {
    let mut allowed = allowed.iter();
    let has_port = |one: &&OutboundTarget| one.covers_port(port, Transport::Tcp);
    let address: Option<IpAddr> = match is_localhost(host) {
        true => Some(IpAddr::from([127, 0, 0, 1])),
        false => host.parse().ok(),
    };
    match address {
        Some(address) => {
            allowed.find(|one| has_port(one) && one.covers_address(address))?;
            Some(OutboundTarget::of_address(address, port, Transport::Tcp))
        }
        None => {
            let name = host_name(host)?;
            allowed.find(|one| has_port(one) && one.covers_name(&name))?;
            OutboundTarget::of_name(&name, port, Transport::Tcp)
        }
    }
}

/// Returns host and port of a URL, or of `HOST:PORT`.
fn endpoint(text: &str) -> Option<(String, u16)> {
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("", text.trim()));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, port.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok()?,
        None => default_port(scheme)?,
    };
    Some((host.to_ascii_lowercase(), port)).filter(|(host, port)| !host.is_empty() && *port > 0)
}

fn default_port(scheme: &str) -> Option<u16> {
    Some(match scheme {
        "http" => 80,
        "https" => 443,
        "redis" | "rediss" => 6379,
        "postgres" | "postgresql" => 5432,
        "mysql" | "mysql2" => 3306,
        "amqp" => 5672,
        "amqps" => 5671,
        "mongodb" => 27017,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(value: &str, allowed: &[&str]) -> Vec<String> {
        let allowed: Vec<OutboundTarget> = allowed.iter().map(|one| one.parse().unwrap()).collect();
        let targets = of_values([value.to_owned()].iter(), &allowed);
        targets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_addresses_of_the_operators_list_are_granted() {
        let list = [
            "tcp://10.0.0.5:6379",
            "tcp://kv.internal:*",
            "192.168.1.0/24",
        ];
        assert_eq!(
            granted("redis://u:p@10.0.0.5/0", &list),
            ["tcp://10.0.0.5:6379"]
        );
        assert_eq!(
            granted("https://kv.internal/a", &list),
            ["https://kv.internal"]
        );
        assert_eq!(
            granted("192.168.1.7:11211,192.168.2.7:11211", &list),
            ["tcp://192.168.1.7:11211"]
        );
        for value in [
            "redis://10.0.0.5:6380",
            "http://127.0.0.1:8081",
            "http://localhost:8081",
            "http://kv.internal.evil.example",
            "http://evil.example/@kv.internal:80",
            "http://kv.internal:0",
            "kv.internal",
            "",
            "://:@",
        ] {
            assert_eq!(granted(value, &list), [""; 0], "{value}");
        }
    }
}
