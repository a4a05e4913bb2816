//! The signal that certificates may be due.

use tokio::sync::Notify;

/// Wakes the task that gets certificates.
#[derive(Default)]
pub struct AcmeWake(Notify);

impl AcmeWake {
    /// Reports that hosts or settings have changed.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits for the next report.
    pub(crate) async fn woken(&self) {
        self.0.notified().await;
    }
}
