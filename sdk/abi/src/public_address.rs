//! Public addresses of the Internet, beside those of a machine and of its neighbours.
//!
//! Builds, log drains and dynos keep this one rule for connections whose target an app chooses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Kind of an address, by the registries of special-purpose addresses (RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    /// A public address of the Internet.
    Public,
    /// An address of a private network (RFC 1918, RFC 4193) or of a provider's own (RFC 6598).
    Private,
    /// The machine itself.
    Loopback,
    /// A neighbour on the same link.
    LinkLocal,
    /// An address at which clouds serve a machine's credentials and settings.
    Metadata,
    /// An IPv6 address that stands for an IPv4 one: NAT64, 6to4, Teredo, IPv4-compatible addresses. The connection
    /// ends at another address than the one that is checked.
    Tunnel,
    /// An address for documentation, for benchmarks, or without a use.
    Reserved,
    /// A group of machines, or all of a network.
    Multicast,
    /// No address: the host that is not known yet.
    Unspecified,
}

/// Returns whether an address is public.
///
/// Addresses that are not public belong to the machine itself or to its neighbours, which may trust its connections. An
/// IPv4 address inside an IPv6 one counts as itself.
pub fn is_public(address: IpAddr) -> bool {
    address_kind(address) == AddressKind::Public
}

/// Returns the kind of an address. An IPv4-mapped address counts as the IPv4 address.
pub fn address_kind(address: IpAddr) -> AddressKind {
    match address.to_canonical() {
        IpAddr::V4(v4) => kind_v4(v4),
        IpAddr::V6(v6) => kind_v6(v6),
    }
}

fn kind_v4(v4: Ipv4Addr) -> AddressKind {
    match v4.octets() {
        // Amazon and most others; Alibaba; Azure's wire server, whose address is in a public block; Oracle.
        [169, 254, 169, 254] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] => {
            AddressKind::Metadata
        }
        [0, 0, 0, 0] => AddressKind::Unspecified,
        _ if v4.is_loopback() => AddressKind::Loopback,
        _ if v4.is_link_local() => AddressKind::LinkLocal,
        _ if v4.is_private() => AddressKind::Private,
        [100, 64..=127, ..] => AddressKind::Private,
        _ if v4.is_multicast() || v4.is_broadcast() => AddressKind::Multicast,
        _ if v4.is_documentation() => AddressKind::Reserved,
        // "This network", IETF protocols, relays of 6to4, benchmarks, the former class E.
        [0 | 240..=255, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            AddressKind::Reserved
        }
        _ => AddressKind::Public,
    }
}

fn kind_v6(v6: Ipv6Addr) -> AddressKind {
    let [first, second, ..] = v6.segments();
    if v6.is_unspecified() {
        return AddressKind::Unspecified;
    }
    if v6.is_loopback() {
        return AddressKind::Loopback;
    }
    match (first, second) {
        // Amazon; Google.
        (0xfd00, 0x0ec2) | (0xfd20, 0x00ce) => AddressKind::Metadata,
        // IPv4-compatible addresses and SIIT; NAT64 (RFC 6052, RFC 8215); Teredo; 6to4.
        (0, _) => AddressKind::Tunnel,
        (0x0064, 0xff9b) => AddressKind::Tunnel,
        (0x2001, 0) | (0x2002, _) => AddressKind::Tunnel,
        _ if v6.is_unicast_link_local() => AddressKind::LinkLocal,
        // Site-local addresses (fec0::/10) are deprecated, but some networks use them.
        _ if v6.is_unique_local() || first & 0xffc0 == 0xfec0 => AddressKind::Private,
        _ if v6.is_multicast() => AddressKind::Multicast,
        // IETF protocols; documentation (RFC 3849, RFC 9637).
        (0x2001, 1..0x200) | (0x2001, 0x0db8) | (0x3fff, ..0x1000) => AddressKind::Reserved,
        _ if first & 0xe000 == 0x2000 => AddressKind::Public,
        _ => AddressKind::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_the_kind_of_their_registry() {
        use AddressKind::*;
        for (address, kind) in [
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("192.168.1.1", Private),
            ("169.254.169.254", Metadata),
            ("169.254.170.2", LinkLocal),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("192.0.0.192", Metadata),
            ("0.0.0.0", Unspecified),
            ("0.1.2.3", Reserved),
            ("100.64.0.1", Private),
            ("100.127.255.255", Private),
            ("224.0.0.1", Multicast),
            ("239.255.255.255", Multicast),
            ("240.0.0.1", Reserved),
            ("255.255.255.255", Multicast),
            ("198.18.0.1", Reserved),
            ("192.0.2.1", Reserved),
            ("198.51.100.7", Reserved),
            ("203.0.113.7", Reserved),
            ("192.0.0.8", Reserved),
            ("192.88.99.1", Reserved),
            ("::1", Loopback),
            ("::", Unspecified),
            ("::7f00:1", Tunnel),
            ("::127.0.0.1", Tunnel),
            ("::ffff:0:127.0.0.1", Tunnel),
            ("fe80::1", LinkLocal),
            ("febf::1", LinkLocal),
            ("fec0::1", Private),
            ("fc00::1", Private),
            ("fdff::1", Private),
            ("fd00:ec2::254", Metadata),
            ("fd20:ce::254", Metadata),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Metadata),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:1.1.1.1", Public),
            ("2002:7f00::1", Tunnel),
            ("2001::1", Tunnel),
            ("2001:1::1", Reserved),
            ("2001:db8::1", Reserved),
            ("3fff:1::1", Reserved),
            ("64:ff9b::7f00:1", Tunnel),
            ("64:ff9b:1::a00:1", Tunnel),
            ("100::1", Reserved),
            ("5f00::1", Reserved),
            ("ff02::1", Multicast),
            ("1.1.1.1", Public),
            ("93.184.216.34", Public),
            ("172.32.0.1", Public),
            ("100.128.0.1", Public),
            ("2606:4700::1111", Public),
            ("2a00:1450::1", Public),
            ("2001:4860:4860::8888", Public),
            ("2620:4f:8000::1", Public),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(address_kind(address), kind, "{address}");
            assert_eq!(is_public(address), kind == Public, "{address}");
        }
    }
}
