//! Lines about refusals in an app's log: each once, and few of them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// Time before the same line is repeated, and in which [`MAX_LINES`] lines are logged.
const PERIOD: Duration = Duration::from_secs(60);

/// Lines of one period. An app that scans a network would log a line for each address.
const MAX_LINES: usize = 10;

/// The refusals of one app that were logged lately.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    /// Digests of the refusals of this period; no more than [`MAX_LINES`].
    logged: HashMap<u64, Instant>,
    /// Refusals that were not logged since the last line.
    dropped: u64,
}

impl RefusalLog {
    /// Returns the line to log for a refusal, or `None` if the log has it already or has enough lines.
    pub(super) fn line(&mut self, refusal: &Refusal, now: Instant) -> Option<String> {
        self.logged
            .retain(|_, at| now.saturating_duration_since(*at) < PERIOD);
        let mut hasher = DefaultHasher::new();
        refusal.hash(&mut hasher);
        let digest = hasher.finish();
        if self.logged.contains_key(&digest) {
            return None;
        }
        if self.logged.len() >= MAX_LINES {
            self.dropped += 1;
            return None;
        }
        self.logged.insert(digest, now);
        let dropped = std::mem::take(&mut self.dropped);
        Some(match dropped {
            0 => refusal.to_string(),
            count => format!("{refusal} ({count} other refusals are not shown)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use corundum_abi::outbound::Transport;

    use super::super::refusal::{RefusalReason, RefusedAttempt};
    use super::*;

    fn refusal(last: u8) -> Refusal {
        let address = SocketAddr::from(([10, 0, 0, last], 80));
        Refusal {
            attempt: RefusedAttempt::endpoint(address, Transport::Tcp, None),
            reason: RefusalReason::Private,
        }
    }

    #[test]
    fn repeated_refusal_is_logged_once_a_period() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        assert!(log.line(&refusal(1), start).is_some());
        assert_eq!(log.line(&refusal(1), start), None);
        assert!(log.line(&refusal(2), start).is_some());
        assert!(log.line(&refusal(1), start + PERIOD).is_some());
    }

    #[test]
    fn scan_logs_few_lines_and_their_number() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        let lines = (0..=255).filter(|last| log.line(&refusal(*last), start).is_some());
        assert_eq!(lines.count(), MAX_LINES);
        let line = log.line(&refusal(1), start + PERIOD).unwrap();
        assert!(
            line.ends_with("(246 other refusals are not shown)"),
            "{line}"
        );
        assert!(log.logged.len() <= MAX_LINES);
    }
}
