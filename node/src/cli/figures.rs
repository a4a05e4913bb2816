//! Figures as the listings show them.

use serde_json::Value;

/// The heading of an app's figures.
pub(super) const APP_HEADING: [&str; 10] = [
    "Last",
    "Requests",
    "Errors",
    "p50",
    "p95",
    "p99",
    "Queue p95",
    "Cache hits",
    "Sent",
    "CPU",
];

/// The heading of a dyno's figures.
pub(super) const DYNO_HEADING: [&str; 5] = ["Requests", "Errors", "p50", "p95", "p99"];

/// An app's figures, a row for each span.
pub(super) fn app_rows(figures: &Value) -> Vec<Vec<String>> {
    let row = |span: &str| {
        let of = &figures[span];
        let mut row = vec![span.to_owned()];
        row.extend(common(of));
        row.push(time(&of["queue_ms"]["p95"]));
        let ratio = of["cache_hit_ratio"].as_f64();
        row.push(ratio.map_or("-".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0)));
        row.push(size(of["bytes"].as_u64().unwrap_or(0)));
        row.push(format!(
            "{:.1} s",
            of["cpu_seconds"].as_f64().unwrap_or(0.0)
        ));
        row
    };
    ["1m", "5m", "15m"].map(row).to_vec()
}

/// The cells of a dyno's last five minutes.
pub(super) fn dyno_cells(dyno: &Value) -> Vec<String> {
    common(&dyno["5m"]).to_vec()
}

fn common(of: &Value) -> [String; 5] {
    let number = |name: &str| of[name].as_u64().unwrap_or(0).to_string();
    let service = &of["service_ms"];
    [
        number("requests"),
        number("errors"),
        time(&service["p50"]),
        time(&service["p95"]),
        time(&service["p99"]),
    ]
}

/// Milliseconds, with no more digits than the figures are good for.
fn time(milliseconds: &Value) -> String {
    match milliseconds.as_f64() {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.0} s", ms / 1000.0),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} kB", bytes >> 10),
        _ => format!("{} MB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_shown_as_good_as_they_are() {
        assert_eq!(time(&json!(0.123)), "0.1 ms");
        assert_eq!(time(&json!(1234.5)), "1234 ms");
        assert_eq!(time(&json!(30_000.0)), "30 s");
        assert_eq!(time(&Value::Null), "-");
        assert_eq!(
            (size(5), size(20_480), size(1 << 30)),
            ("5 B".into(), "20 kB".into(), "1024 MB".into())
        );
    }

    #[test]
    fn what_was_not_used_has_rows_all_the_same() {
        let rows = app_rows(&json!({}));
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.len() == APP_HEADING.len()));
        assert_eq!(dyno_cells(&json!({"5m": null})).len(), DYNO_HEADING.len());
    }
}
