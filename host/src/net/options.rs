//! Options of sockets that a dyno may read and set, with Linux's numbers.
//!
//! Values are kept here and applied to the kernel's socket, which a socket gets when it connects. Options that are not in
//! the list fail with `ENOPROTOOPT`.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;
use wasi_common::snapshots::preview_1::types::Errno;

use super::errno;

/// Bytes of a buffer that a guest may ask for.
const BUFFERS: std::ops::RangeInclusive<i64> = (4 << 10)..=(1 << 20);
/// Bytes of a buffer that nobody has set, as the kernel's default for TCP.
const DEFAULT_BUFFER: i64 = 128 << 10;
/// Longest time of an option, a day: the kernel has a bound too.
const LONGEST: i64 = 24 * 3600;

/// An option that a dyno may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketOption {
    ReuseAddress,
    ReusePort,
    Broadcast,
    SendBuffer,
    ReceiveBuffer,
    KeepAlive,
    Linger,
    ReceiveTimeout,
    SendTimeout,
    NoDelay,
    Cork,
    KeepIdle,
    KeepInterval,
    KeepCount,
    QuickAck,
    UserTimeout,
    OnlyV6,
}

use SocketOption as Name;

/// Numbers of the options: level and name.
const NUMBERS: [(i32, i32, SocketOption); 17] = [
    (1, 2, Name::ReuseAddress),
    (1, 6, Name::Broadcast),
    (1, 7, Name::SendBuffer),
    (1, 8, Name::ReceiveBuffer),
    (1, 9, Name::KeepAlive),
    (1, 13, Name::Linger),
    (1, 15, Name::ReusePort),
    (1, 20, Name::ReceiveTimeout),
    (1, 21, Name::SendTimeout),
    (6, 1, Name::NoDelay),
    (6, 3, Name::Cork),
    (6, 4, Name::KeepIdle),
    (6, 5, Name::KeepInterval),
    (6, 6, Name::KeepCount),
    (6, 12, Name::QuickAck),
    (6, 18, Name::UserTimeout),
    (41, 26, Name::OnlyV6),
];

/// The options that a guest has set on one socket, each at most once.
#[derive(Default)]
pub(super) struct OptionValues(Vec<(SocketOption, i64)>);

/// Returns the option with Linux's numbers.
///
/// # Errors
///
/// `ENOPROTOOPT` if a dyno does not have it.
pub(super) fn named(level: i32, name: i32) -> Result<SocketOption, Errno> {
    let found = NUMBERS
        .iter()
        .find(|entry| (entry.0, entry.1) == (level, name));
    found.map(|entry| entry.2).ok_or(Errno::Noprotoopt)
}

impl OptionValues {
    /// Returns the value of an option.
    pub(super) fn get(&self, option: SocketOption) -> i64 {
        let set = self.0.iter().find(|(name, _)| *name == option);
        match (set, option) {
            (Some((_, value)), _) => *value,
            (None, Name::SendBuffer | Name::ReceiveBuffer) => DEFAULT_BUFFER,
            (None, Name::KeepIdle) => 7200,
            (None, Name::KeepInterval) => 75,
            (None, Name::KeepCount) => 9,
            (None, _) => 0,
        }
    }

    /// Sets an option, on the kernel's socket too if there is one.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the value is not possible.
    pub(super) fn set(
        &mut self,
        option: SocketOption,
        value: i64,
        kernel: Option<&OwnedFd>,
    ) -> Result<(), Errno> {
        let value = valid(option, value)?;
        if let Some(kernel) = kernel {
            apply(option, value, kernel)?;
        }
        match self.0.iter_mut().find(|(name, _)| *name == option) {
            Some(set) => set.1 = value,
            None => self.0.push((option, value)),
        }
        Ok(())
    }

    /// Applies all options to a new socket of the kernel, as far as it has them.
    pub(super) fn apply_all(&self, kernel: &OwnedFd) {
        for (option, value) in &self.0 {
            let _ = apply(*option, *value, kernel);
        }
    }

    /// Returns the time that a blocking call waits; `None` for any time.
    pub(super) fn timeout(&self, option: SocketOption) -> Option<Duration> {
        match self.get(option) {
            0 => None,
            value => {
                let seconds = u64::from(low(value));
                Some(Duration::from_secs(seconds) + Duration::from_micros(high(value).into()))
            }
        }
    }
}

fn valid(option: SocketOption, value: i64) -> Result<i64, Errno> {
    let within = |range: std::ops::RangeInclusive<i64>| {
        let inside = range.contains(&value);
        if inside { Ok(value) } else { Err(Errno::Inval) }
    };
    match option {
        Name::SendBuffer | Name::ReceiveBuffer => Ok(value.clamp(*BUFFERS.start(), *BUFFERS.end())),
        Name::KeepIdle | Name::KeepInterval => within(1..=32_767),
        Name::KeepCount => within(1..=127),
        Name::UserTimeout => within(0..=LONGEST * 1000),
        Name::Linger | Name::ReceiveTimeout | Name::SendTimeout => {
            let seconds = if option == Name::Linger {
                high(value)
            } else {
                low(value)
            };
            let possible = i64::from(seconds) <= LONGEST;
            if possible {
                Ok(value)
            } else {
                Err(Errno::Inval)
            }
        }
        _ => Ok(i64::from(value != 0)),
    }
}

fn low(value: i64) -> u32 {
    value as u32
}

fn high(value: i64) -> u32 {
    (value >> 32) as u32
}

fn apply(option: SocketOption, value: i64, to: &OwnedFd) -> Result<(), Errno> {
    let on = value != 0;
    let number = u32::try_from(value).unwrap_or(u32::MAX);
    let seconds = Duration::from_secs(number.into());
    let bytes = value as usize;
    let applied = match option {
        Name::KeepAlive => sockopt::set_socket_keepalive(to, on),
        Name::SendBuffer => sockopt::set_socket_send_buffer_size(to, bytes),
        Name::ReceiveBuffer => sockopt::set_socket_recv_buffer_size(to, bytes),
        Name::NoDelay => sockopt::set_tcp_nodelay(to, on),
        Name::Cork => sockopt::set_tcp_cork(to, on),
        Name::KeepIdle => sockopt::set_tcp_keepidle(to, seconds),
        Name::KeepInterval => sockopt::set_tcp_keepintvl(to, seconds),
        Name::KeepCount => sockopt::set_tcp_keepcnt(to, number),
        Name::QuickAck => sockopt::set_tcp_quickack(to, on),
        Name::UserTimeout => sockopt::set_tcp_user_timeout(to, number),
        // The kernel closes in the background, so that the end of a dyno never waits for a peer. Lingering for no time is
        // an abortive close.
        Name::Linger if low(value) != 0 && high(value) == 0 => {
            sockopt::set_socket_linger(to, Some(Duration::ZERO))
        }
        // The rest is about the dyno's own loopback, or about calls of the guest.
        Name::Linger
        | Name::ReuseAddress
        | Name::ReusePort
        | Name::Broadcast
        | Name::ReceiveTimeout
        | Name::SendTimeout
        | Name::OnlyV6 => Ok(()),
    };
    applied.map_err(errno::of_kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_kept() {
        let mut values = OptionValues::default();
        let mut set = |option, value| values.set(option, value, None);
        assert_eq!(set(Name::ReceiveBuffer, 1 << 40), Ok(()));
        assert_eq!(set(Name::KeepIdle, 0), Err(Errno::Inval));
        assert_eq!(set(Name::NoDelay, 7), Ok(()));
        assert_eq!(set(Name::ReceiveTimeout, (500_000 << 32) | 2), Ok(()));
        assert_eq!(set(Name::SendTimeout, 1 << 31), Err(Errno::Inval));
        assert_eq!(values.get(Name::ReceiveBuffer), 1 << 20);
        assert_eq!(values.get(Name::NoDelay), 1);
        let wait = values.timeout(Name::ReceiveTimeout);
        assert_eq!(wait, Some(Duration::from_millis(2500)));
        assert_eq!(values.timeout(Name::SendTimeout), None);
        assert_eq!(named(1, 13), Ok(Name::Linger));
        assert_eq!(named(0, 35), Err(Errno::Noprotoopt));
    }
}
