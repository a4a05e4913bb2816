//! Log sessions: secrets that each permit reading the log of one app, without a token, for a short time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::filter::LogFilter;
use crate::secret;

/// The time after which a session expires that no client reads. It is also the time to reconnect after a cut connection.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Sessions kept at once. Each takes some hundred bytes, and one person's `logs` leaves one for five minutes.
const MAX_SESSIONS: usize = 1000;

/// The log sessions of all apps, in memory: they end with the process, as the logs do.
#[derive(Default)]
pub struct LogSessions {
    table: Mutex<SessionTable>,
}

#[derive(Default)]
struct SessionTable {
    // Secrets are keys of a map with a random hash function, so the time of a look-up reveals nothing about them.
    by_secret: HashMap<String, NumberedSession>,
    /// The number of the next session.
    next: u64,
}

struct NumberedSession {
    number: u64,
    session: Arc<LogSession>,
}

/// A session. It does not hold its secret.
struct LogSession {
    selection: LogSelection,
    /// The time of the last end of a reader, or of the creation.
    unread_since: Mutex<Instant>,
}

/// The lines that a session shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSelection {
    /// The app's key. A later app of the same name has another one, so a session ends with its app.
    pub(crate) app: Uuid,
    /// Selects lines by their source.
    pub(crate) filter: LogFilter,
    /// Lines of the past to begin with.
    pub(crate) lines: usize,
    /// True to continue with new lines.
    pub(crate) tail: bool,
}

/// A session that a client reads. It does not expire meanwhile.
pub(crate) struct OpenLogSession(Arc<LogSession>);

impl OpenLogSession {
    /// Returns the lines that the session shows.
    pub(crate) fn selection(&self) -> &LogSelection {
        &self.0.selection
    }
}

impl Drop for OpenLogSession {
    fn drop(&mut self) {
        *lock(&self.0.unread_since) = Instant::now();
    }
}

impl LogSessions {
    /// Adds a session and returns its secret. The oldest session of a full table ends.
    ///
    /// # Errors
    ///
    /// The kernel has no random numbers.
    pub(crate) fn add(&self, selection: LogSelection) -> Result<String, getrandom::Error> {
        let secret = secret::random_hex()?;
        lock(&self.table).add(secret.clone(), selection, Instant::now());
        Ok(secret)
    }

    /// Opens the session of a secret; `None` if it is unknown or expired.
    pub(crate) fn open(&self, secret: &str) -> Option<OpenLogSession> {
        lock(&self.table).open(secret, Instant::now())
    }
}

impl SessionTable {
    fn add(&mut self, secret: String, selection: LogSelection, now: Instant) {
        self.by_secret.retain(|_, one| !one.is_expired(now));
        if self.by_secret.len() >= MAX_SESSIONS {
            let oldest = self.by_secret.iter().min_by_key(|(_, one)| one.number);
            if let Some(oldest) = oldest.map(|(secret, _)| secret.clone()) {
                self.by_secret.remove(&oldest);
            }
        }
        let session = Arc::new(LogSession {
            selection,
            unread_since: Mutex::new(now),
        });
        let number = self.next;
        self.next += 1;
        self.by_secret
            .insert(secret, NumberedSession { number, session });
    }

    fn open(&mut self, secret: &str, now: Instant) -> Option<OpenLogSession> {
        let one = self.by_secret.get(secret)?;
        if one.is_expired(now) {
            self.by_secret.remove(secret);
            return None;
        }
        Some(OpenLogSession(one.session.clone()))
    }
}

impl NumberedSession {
    /// Returns whether the session expired by `now`. Each reader holds a reference beside the table's.
    fn is_expired(&self, now: Instant) -> bool {
        let unread = now.saturating_duration_since(*lock(&self.session.unread_since));
        Arc::strong_count(&self.session) == 1 && unread >= LIFETIME
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn selection(lines: usize) -> LogSelection {
        LogSelection {
            app: Uuid::nil(),
            filter: LogFilter::default(),
            lines,
            tail: false,
        }
    }

    #[test]
    fn unopened_session_expires_five_minutes_after_its_creation() {
        let (mut table, start) = (SessionTable::default(), Instant::now());
        for secret in ["early", "late"] {
            table.add(secret.to_owned(), selection(1), start);
        }
        assert!(table.open("early", start + LIFETIME - SECOND).is_some());
        assert!(table.open("late", start + LIFETIME).is_none());
        assert!(!table.by_secret.contains_key("late"));
        assert!(table.open("unknown", start).is_none());
    }

    #[test]
    fn read_session_expires_five_minutes_after_its_last_reader() {
        let (mut table, start) = (SessionTable::default(), Instant::now());
        table.add("read".to_owned(), selection(1), start);
        let reader = table.open("read", start).unwrap();
        assert_eq!(*reader.selection(), selection(1));
        drop(table.open("read", start + 2 * LIFETIME).unwrap());
        // Expired sessions are removed when one is added, but not one that a client reads.
        table.add("new".to_owned(), selection(1), start + 2 * LIFETIME);
        drop(reader);
        let end = Instant::now();
        assert!(table.by_secret["read"].is_expired(end + LIFETIME));
        assert!(!table.by_secret["read"].is_expired(end + LIFETIME - SECOND));
    }

    #[test]
    fn expired_sessions_are_removed_before_a_new_one_is_added() {
        let (mut table, start) = (SessionTable::default(), Instant::now());
        table.add("old".to_owned(), selection(1), start);
        table.add("new".to_owned(), selection(1), start + LIFETIME);
        assert_eq!(table.by_secret.keys().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn oldest_session_of_a_full_table_ends() {
        let sessions = LogSessions::default();
        let secrets: Vec<String> = (0..MAX_SESSIONS + 2)
            .map(|index| sessions.add(selection(index)).unwrap())
            .collect();
        assert_eq!(lock(&sessions.table).by_secret.len(), MAX_SESSIONS);
        for secret in &secrets[..2] {
            assert!(sessions.open(secret).is_none());
        }
        for (index, secret) in secrets.iter().enumerate().skip(2) {
            let session = sessions.open(secret).unwrap();
            assert_eq!(session.selection().lines, index);
        }
    }
}
