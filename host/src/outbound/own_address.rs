//! The machine's own addresses, at which the node's listeners and other services of the machine answer.

use std::net::{IpAddr, UdpSocket};

use rustix::io::Errno;

/// Returns whether an address belongs to this machine at this moment.
///
/// The kernel lets a socket be bound to the machine's own addresses alone. Asking it needs no list of interfaces that
/// may be out of date, and covers routes of the kind `local`. A machine that allows foreign addresses
/// (`net.ipv4.ip_nonlocal_bind`) is asked by which address it would connect.
///
/// An error counts as yes, since then the machine cannot tell.
pub(super) fn is_own(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) if allows_foreign(address) => is_own_source(address),
        Ok(_) => true,
        // A machine without IPv6 has no such address.
        Err(error) => {
            let code = error.raw_os_error();
            let none = [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT].map(Errno::raw_os_error);
            !code.is_some_and(|code| none.contains(&code))
        }
    }
}

/// Returns whether sockets may be bound to addresses that the machine does not have.
fn allows_foreign(address: IpAddr) -> bool {
    let path = match address {
        IpAddr::V4(_) => "/proc/sys/net/ipv4/ip_nonlocal_bind",
        IpAddr::V6(_) => "/proc/sys/net/ipv6/ip_nonlocal_bind",
    };
    std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")
}

/// Returns whether the kernel would connect to an address from the address itself. Nothing is sent.
fn is_own_source(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_machine_are_recognized() {
        assert!(is_own("127.0.0.1".parse().unwrap()));
        assert!(is_own_source("127.0.0.1".parse().unwrap()));
        for other in ["192.0.2.77", "1.1.1.1"] {
            assert!(!is_own(other.parse().unwrap()), "{other}");
            assert!(!is_own_source(other.parse().unwrap()), "{other}");
        }
    }
}
