//! A request's place among those of its app that are under way (H22).

use std::sync::Arc;

use crate::metrics::AppMetrics;

/// A place; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AppMetrics>);

impl Permit {
    /// A place among the `most` of an app; none if all are taken.
    pub(crate) fn acquire(app: &Arc<AppMetrics>, most: u32) -> Option<Self> {
        // One too many is given back by the drop.
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
    fn an_app_has_so_many_places_and_gets_them_back() {
        let (app, other) = (Arc::default(), Arc::default());
        let first = Permit::acquire(&app, 1);
        assert!(first.is_some() && Permit::acquire(&app, 1).is_none());
        assert!(Permit::acquire(&other, 1).is_some());
        drop(first);
        assert!(Permit::acquire(&app, 1).is_some());
        assert_eq!(app.in_flight(), 0);
    }
}
