//! Prometheus's text exposition format, version 0.0.4: families of samples, each after its help and type.

use std::fmt::{Display, Write};

use corundum_router::metrics::HistogramSnapshot;

/// The format's media type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of histogram buckets, as powers of two in microseconds: from 256 µs to 67 s.
const BOUNDS: (u32, u32) = (8, 26);

/// The type of a family.
#[derive(Debug, Clone, Copy)]
pub(super) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A page under construction.
#[derive(Default)]
pub(super) struct MetricsPage(String);

impl MetricsPage {
    /// Starts a family. All of its samples must be added before the next family.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        help: &str,
    ) -> MetricFamily<'_> {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        MetricFamily { page: self, name }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A family of samples.
pub(super) struct MetricFamily<'a> {
    page: &'a mut MetricsPage,
    name: &'static str,
}

/// Labels of a sample. Their values are app names, states and codes, which need no escaping.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl MetricFamily<'_> {
    /// Adds a sample.
    pub(super) fn value(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.sample("", labels, None, value);
        self
    }

    /// Adds the samples of a histogram.
    pub(super) fn histogram(&mut self, labels: Labels<'_>, all: &HistogramSnapshot) {
        for (bound, below) in all.cumulative(BOUNDS.0, BOUNDS.1) {
            let bound = bound.as_secs_f64().to_string();
            self.sample("_bucket", labels, Some(&bound), below);
        }
        let count = all.count();
        self.sample("_bucket", labels, Some("+Inf"), count);
        self.sample("_sum", labels, None, all.sum().as_secs_f64());
        self.sample("_count", labels, None, count);
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: impl Display,
    ) {
        let out = &mut self.page.0;
        let _ = write!(out, "{}{suffix}", self.name);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let _ = write!(out, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_follows_the_format() {
        let mut page = MetricsPage::default();
        page.family("a_total", MetricKind::Counter, "Some help.")
            .value(&[("app", "x"), ("status", "2xx")], 3)
            .value(&[], 0.5);
        page.family("b_seconds", MetricKind::Histogram, "Times.")
            .histogram(&[("app", "x")], &HistogramSnapshot::default());
        let text = page.finish();
        let begin = "# HELP a_total Some help.\n# TYPE a_total counter\na_total{app=\"x\",status=\"2xx\"} 3\na_total 0.5\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(
            text.contains("\nb_seconds_bucket{app=\"x\",le=\"0.000256\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "\nb_seconds_bucket{app=\"x\",le=\"+Inf\"} 0\nb_seconds_sum{app=\"x\"} 0\n"
            ),
            "{text}"
        );
    }
}
