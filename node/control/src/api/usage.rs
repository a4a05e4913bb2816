//! Endpoints of what apps have used.

use corundum_abi::names::AppName;
use corundum_api::usage::UsageResource;
use corundum_store::{DayUsage, Store};
use http::Uri;
use jiff::ToSpan;
use jiff::civil::Date;

use super::error::ApiError;
use super::response::{ApiResult, ok};
use crate::usage::today;

/// The day from which the store counts.
const EPOCH: Date = Date::constant(1970, 1, 1);

/// Lists what all apps, or one, have used since the day in the query (`start=2026-01-31`), by default the first of this month.
pub(super) fn list(store: &dyn Store, app: Option<&AppName>, uri: &Uri) -> ApiResult {
    let start = start(uri.query())?;
    let usage = store.usage_since(start, app)?;
    ok(&usage.into_iter().filter_map(resource).collect::<Vec<_>>())
}

fn start(query: Option<&str>) -> Result<i64, ApiError> {
    let date = match query {
        None => date(today()).map(Date::first_of_month),
        Some(query) => query
            .strip_prefix("start=")
            .and_then(|text| text.parse().ok()),
    };
    let date = date.ok_or_else(|| {
        let message = "the query is not a day: write it as start=2026-01-31";
        ApiError::invalid(message)
    })?;
    let days = EPOCH.until(date).map_err(ApiError::invalid)?;
    Ok(days.get_days().into())
}

fn date(day: i64) -> Option<Date> {
    EPOCH.checked_add(i32::try_from(day).ok()?.days()).ok()
}

fn resource(usage: DayUsage) -> Option<UsageResource> {
    let figures = usage.figures;
    Some(UsageResource {
        app: usage.app,
        date: date(usage.day)?,
        requests: figures.requests,
        bytes: figures.response_bytes,
        cpu_seconds: figures.cpu_micros as f64 / 1e6,
        gigabyte_hours: figures.megabyte_seconds as f64 / 3.6e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_a_day() {
        assert_eq!(start(Some("start=1970-01-31")).unwrap(), 30);
        assert_eq!(date(30), Some(Date::constant(1970, 1, 31)));
        let first = date(start(None).unwrap()).unwrap();
        assert_eq!(first.day(), 1);
        assert!((0..31).contains(&(today() - start(None).unwrap())));
        for query in [
            "start=",
            "start=2026-02-30",
            "start=x",
            "end=2026-01-01",
            "",
        ] {
            assert!(start(Some(query)).is_err(), "{query}");
        }
    }
}
