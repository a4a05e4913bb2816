//! Addresses of sockets: their form in the guest's memory, and those that are the dyno itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wasi_common::snapshots::preview_1::types::Errno;

/// Bytes of an address in the guest's memory: family and port (16 bits each, little-endian), and the address.
pub(super) const ADDRESS: usize = 20;

/// The dyno's own address on its interface `eth0`, which stands for the host's connections. RFC 7335 reserves it for hosts
/// behind a translator.
pub(super) const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Unix,
    Inet,
    Inet6,
}

/// Name of a socket's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndName {
    /// An end of a pair, which has no name.
    Unnamed,
    Inet(SocketAddr),
}

impl Family {
    /// Returns the family with Linux's number.
    pub(super) fn from_number(number: i32) -> Option<Self> {
        match u16::try_from(number).ok()? {
            AF_UNIX => Some(Self::Unix),
            AF_INET => Some(Self::Inet),
            AF_INET6 => Some(Self::Inet6),
            _ => None,
        }
    }

    /// Returns the address that means any of the dyno's addresses.
    pub(super) fn unspecified(self) -> SocketAddr {
        match self {
            Self::Inet6 => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            Self::Inet | Self::Unix => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        }
    }

    /// Returns an address as sockets of this family show it: those of IPv6 show IPv4 addresses as mapped ones.
    pub(super) fn shown(self, address: SocketAddr) -> SocketAddr {
        match (self, address.ip()) {
            (Self::Inet6, IpAddr::V4(ip)) => {
                SocketAddr::new(ip.to_ipv6_mapped().into(), address.port())
            }
            _ => address,
        }
    }

    /// Returns an address that a guest passes to a socket of this family, without the mapping of IPv4 into IPv6.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` if the socket has another family.
    pub(super) fn canonical(self, address: SocketAddr) -> Result<SocketAddr, Errno> {
        let fits = match self {
            Self::Inet => address.is_ipv4(),
            Self::Inet6 => address.is_ipv6(),
            Self::Unix => false,
        };
        if !fits {
            return Err(Errno::Afnosupport);
        }
        Ok(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

/// Returns whether an address is the dyno itself: connections to it stay in the dyno, as those to `0.0.0.0` do on Linux.
pub(super) fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip.is_loopback() || ip.is_unspecified() || ip == IpAddr::V4(OWN)
}

/// Reads an address from the guest's memory.
///
/// # Errors
///
/// `EFAULT` if it exceeds the memory, `EAFNOSUPPORT` if its family is unknown.
pub(super) fn read(memory: &[u8], at: i32) -> Result<SocketAddr, Errno> {
    let at = at.cast_unsigned() as usize;
    let bytes = memory
        .get(at..)
        .and_then(|from| from.first_chunk::<ADDRESS>());
    let [f0, f1, p0, p1, ip @ ..] = bytes.ok_or(Errno::Fault)?;
    let port = u16::from_le_bytes([*p0, *p1]);
    let ip: IpAddr = match u16::from_le_bytes([*f0, *f1]) {
        AF_INET => Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into(),
        AF_INET6 => Ipv6Addr::from(*ip).into(),
        _ => return Err(Errno::Afnosupport),
    };
    Ok(SocketAddr::new(ip, port))
}

/// Returns the form of an address in the guest's memory. Family 0 means none.
pub(super) fn bytes(name: Option<EndName>) -> [u8; ADDRESS] {
    let mut bytes = [0; ADDRESS];
    let (family, port) = match name {
        None => (0, 0),
        Some(EndName::Unnamed) => (AF_UNIX, 0),
        Some(EndName::Inet(address)) => match address.ip() {
            IpAddr::V4(ip) => {
                bytes[4..8].copy_from_slice(&ip.octets());
                (AF_INET, address.port())
            }
            IpAddr::V6(ip) => {
                bytes[4..].copy_from_slice(&ip.octets());
                (AF_INET6, address.port())
            }
        },
    };
    bytes[..2].copy_from_slice(&family.to_le_bytes());
    bytes[2..4].copy_from_slice(&port.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_guest_memory() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut memory = vec![0; 100];
            memory[7..27].copy_from_slice(&bytes(Some(EndName::Inet(address))));
            assert_eq!(read(&memory, 7), Ok(address));
        }
        assert_eq!(read(&[0; 30], 4), Err(Errno::Afnosupport));
        assert_eq!(read(&[0; 30], 20), Err(Errno::Fault));
        assert_eq!(read(&[0; 30], -1), Err(Errno::Fault));
    }

    #[test]
    fn all_spellings_of_the_dyno_are_its_own() {
        let own = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "::",
            "::1",
            "192.0.0.2",
        ];
        let mapped = ["::ffff:127.0.0.1", "::ffff:0.0.0.0", "::ffff:192.0.0.2"];
        for text in own.into_iter().chain(mapped) {
            assert!(is_own(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "192.0.2.1", "::2", "fe80::1", "169.254.169.254"] {
            assert!(!is_own(text.parse().unwrap()), "{text}");
        }
    }
}
