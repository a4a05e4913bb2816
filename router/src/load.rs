//! A request's place among those of its app that are under way (H22).

use std::sync::Arc;

use crate::figures::AppFigures;

/// A place; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AppFigures>);

impl Place {
    /// A place among the `most` of an app; none if all are taken.
    pub(crate) fn take(app: &Arc<AppFigures>, most: u32) -> Option<Self> {
        // One too many is given back by the drop.
        let before = app.begin();
        let place = Self(app.clone());
        (before < u64::from(most)).then_some(place)
    }
}

impl Drop for Place {
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
        let first = Place::take(&app, 1);
        assert!(first.is_some() && Place::take(&app, 1).is_none());
        assert!(Place::take(&other, 1).is_some());
        drop(first);
        assert!(Place::take(&app, 1).is_some());
        assert_eq!(app.under_way(), 0);
    }
}
