//! The names that a dyno has resolved, with the addresses that they had.
//!
//! A list holds names, but a connection shows an address. The host resolves names itself, so a guest cannot claim a name
//! for an address of its choice.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::account::{Charge, OutOfReserve};

/// Names that are remembered; the one that was resolved longest ago goes first.
const MAX_NAMES: usize = 256;

/// Addresses of a name that are remembered, from all its look-ups; the oldest goes first.
const MAX_ADDRESSES: usize = 32;

/// Bytes that the host counts for a name beside its text, and for an address.
const NAME_BYTES: usize = 96;
const ADDRESS_BYTES: usize = 24;

/// Names that one dyno has resolved. An empty table takes no memory.
#[derive(Default)]
pub(super) struct ResolvedNames {
    /// By the time of the last look-up.
    names: VecDeque<ResolvedName>,
    charge: Option<Charge>,
}

struct ResolvedName {
    name: String,
    addresses: Vec<IpAddr>,
}

impl ResolvedNames {
    /// Remembers addresses of a name, beside those that it had. `charge` makes the table's charge.
    pub(super) fn record(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        charge: impl FnOnce() -> Charge,
    ) -> Result<(), OutOfReserve> {
        let known = self.names.iter().position(|known| known.name == name);
        let mut entry = known
            .and_then(|at| self.names.remove(at))
            .unwrap_or_else(|| ResolvedName {
                name: name.to_owned(),
                addresses: Vec::new(),
            });
        for address in addresses {
            let address = address.to_canonical();
            entry.addresses.retain(|known| *known != address);
            entry.addresses.push(address);
        }
        let surplus = entry.addresses.len().saturating_sub(MAX_ADDRESSES);
        entry.addresses.drain(..surplus);
        if self.names.len() >= MAX_NAMES {
            self.names.pop_front();
        }
        self.names.push_back(entry);
        let bytes = self.names.iter().map(ResolvedName::bytes).sum();
        let charge = self.charge.get_or_insert_with(charge);
        charge.try_resize(bytes).inspect_err(|_| {
            self.names.pop_back();
        })
    }

    /// Returns the names that had an address, the latest first.
    pub(super) fn of(&self, address: IpAddr) -> impl Iterator<Item = &str> {
        let address = address.to_canonical();
        let names = self.names.iter().rev();
        names
            .filter(move |known| known.addresses.contains(&address))
            .map(|known| known.name.as_str())
    }
}

impl ResolvedName {
    fn bytes(&self) -> usize {
        NAME_BYTES + self.name.len() + ADDRESS_BYTES * self.addresses.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Account, Holding};
    use crate::os::TmpLimits;
    use crate::reserve::{AppShare, NodeReserve};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_all_look_ups_are_remembered() {
        let account = Account::new(
            AppShare::new(NodeReserve::new(64 << 20)),
            TmpLimits::default(),
        );
        let mut names = ResolvedNames::default();
        let charge = || account.charge(Holding::Names);
        names
            .record("a.example", &[ip("192.0.2.1")], charge)
            .unwrap();
        names
            .record("b.example", &[ip("::ffff:192.0.2.1")], charge)
            .unwrap();
        names
            .record("a.example", &[ip("192.0.2.2")], charge)
            .unwrap();
        let of = |address| names.of(ip(address)).collect::<Vec<_>>();
        assert_eq!(of("192.0.2.1"), ["a.example", "b.example"]);
        assert_eq!(of("192.0.2.2"), ["a.example"]);
        assert_eq!(of("192.0.2.3"), Vec::<&str>::new());
        assert!(account.held() > 0);
        drop(names);
        assert_eq!(account.held(), 0);
    }

    #[test]
    fn table_and_its_charge_are_bounded() {
        let account = Account::new(
            AppShare::new(NodeReserve::new(64 << 20)),
            TmpLimits::default(),
        );
        let mut names = ResolvedNames::default();
        for round in 0..2000u32 {
            let addresses: Vec<IpAddr> = (0..100u8)
                .map(|last| IpAddr::from([198, 51, (round % 251) as u8, last]))
                .collect();
            let name = format!("{round}.{}.example", "x".repeat(60));
            let charge = || account.charge(Holding::Names);
            names.record(&name, &addresses, charge).unwrap();
        }
        assert_eq!(names.names.len(), MAX_NAMES);
        let entry = NAME_BYTES + 253 + ADDRESS_BYTES * MAX_ADDRESSES;
        assert!(account.held() <= MAX_NAMES * entry);
        assert_eq!(names.of(ip("198.51.0.0")).count(), 0);
    }
}
