//! Times, sizes and shares in the precision that people read.

use corundum_api::metrics::Percentiles;

/// Stands for an unknown value.
pub(crate) const NONE: &str = "-";

/// Returns a value as text, or a dash.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

/// Returns a time in milliseconds with two to four digits; longer times in seconds.
pub(crate) fn time(milliseconds: Option<f64>) -> String {
    match milliseconds {
        None => NONE.to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.0} s", ms / 1000.0),
    }
}

/// Returns the 50th, 95th and 99th percentile.
pub(crate) fn percentiles(times: &Percentiles) -> [String; 3] {
    [times.p50, times.p95, times.p99].map(time)
}

/// Returns a size in bytes, kB or MB.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} kB", bytes >> 10),
        _ => format!("{} MB", bytes >> 20),
    }
}

/// Returns a size in MB with one decimal.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Returns a share from 0 to 1 as a percentage.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| NONE.to_owned(), |share| format!("{:.1}%", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_magnitude() {
        assert_eq!(time(Some(0.123)), "0.1 ms");
        assert_eq!(time(Some(1234.5)), "1234 ms");
        assert_eq!(time(Some(30_000.0)), "30 s");
        assert_eq!(time(None), "-");
        assert_eq!(
            (size(5), size(20_480), size(1 << 30)),
            ("5 B".into(), "20 kB".into(), "1024 MB".into())
        );
        assert_eq!(percent(Some(0.5)), "50.0%");
    }

    #[test]
    fn unknown_values_are_dashes() {
        assert_eq!(percentiles(&Percentiles::default()), ["-", "-", "-"]);
        assert_eq!(
            (percent(None), or_dash(None::<u32>)),
            ("-".into(), "-".into())
        );
    }
}
