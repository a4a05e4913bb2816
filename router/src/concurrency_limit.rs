//! The limit of an app's concurrent requests (H22).

use std::sync::Arc;

use crate::metrics::AppMetrics;

/// One of an app's concurrent requests; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AppMetrics>);

impl Permit {
    /// Acquires one of the `most` slots of an app, or `None` if all are in use.
    pub(crate) fn acquire(app: &Arc<AppMetrics>, most: u32) -> Option<Self> {
        // The drop of `permit` undoes the increment of a request beyond the limit.
        let before = app.begin();
        let permit = Self(app.clone());
        (before < u64::from(most)).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_limited_for_each_app_and_released_on_drop() {
        let (app, other) = (Arc::default(), Arc::default());
        let first = Permit::acquire(&app, 1);
        assert!(first.is_some() && Permit::acquire(&app, 1).is_none());
        assert!(Permit::acquire(&other, 1).is_some());
        drop(first);
        assert!(Permit::acquire(&app, 1).is_some());
        assert_eq!(app.in_flight(), 0);
    }
}
