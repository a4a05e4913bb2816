//! Prometheus's text format, version 0.0.4: families of samples, each under its help and its type.

use std::fmt::{Display, Write};

use corundum_router::metrics::HistogramSnapshot;

/// The format's media type.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of histograms, as powers of two of microseconds: from a quarter of a millisecond to 67 seconds.
const BOUNDS: (u32, u32) = (8, 26);

/// What a family's samples are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page that is being written.
#[derive(Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins a family. Its samples must all follow before the next begins.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: self, name }
    }

    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// A family of samples.
pub(crate) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

/// Labels of a sample. Their values are names of apps, states and codes, none of which needs escaping.
pub(crate) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Family<'_> {
    /// A sample.
    pub(crate) fn value(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.sample("", labels, None, value);
        self
    }

    /// A histogram's samples.
    pub(crate) fn distribution(&mut self, labels: Labels<'_>, all: &HistogramSnapshot) {
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
    fn a_page_is_as_the_format_has_it() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "Some help.")
            .value(&[("app", "x"), ("status", "2xx")], 3)
            .value(&[], 0.5);
        page.family("b_seconds", Kind::Histogram, "Times.")
            .distribution(&[("app", "x")], &HistogramSnapshot::default());
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
