//! The results as text, as JSON and as a drawing for the README.

use std::fmt::Write;

use serde::Serialize;

/// Direction of improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Less,
    More,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) corundum: f64,
    /// Name and result of the competitor, measured in the same run.
    pub(crate) peer: Option<(&'static str, f64)>,
    /// Goal for `corundum`, or for the ratio if there is a competitor.
    pub(crate) at_least: Option<f64>,
    pub(crate) better: Better,
}

impl Row {
    /// Returns how many times better Corundum is than the competitor.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (_, peer) = self.peer?;
        Some(match self.better {
            Better::Less => peer / self.corundum,
            Better::More => self.corundum / peer,
        })
    }

    fn is_met(&self) -> Option<bool> {
        let wanted = self.at_least?;
        Some(match (self.ratio(), self.better) {
            (Some(ratio), _) => ratio >= wanted,
            (None, Better::Less) => self.corundum <= wanted,
            (None, Better::More) => self.corundum >= wanted,
        })
    }

    fn cells(&self) -> [String; 5] {
        let number = |value: f64| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let peer = self
            .peer
            .map(|(name, value)| format!("{name} {}", number(value)));
        let wanted = self.at_least.map(|wanted| match (self.peer, self.better) {
            (Some(_), _) => format!("{}×", number(wanted)),
            (None, Better::Less) => format!("≤ {}", number(wanted)),
            (None, Better::More) => format!("≥ {}", number(wanted)),
        });
        let goal = match self.is_met() {
            Some(true) => " ✓",
            Some(false) => " missed",
            None => "",
        };
        [
            self.what.to_owned(),
            format!("{} {}", number(self.corundum), self.unit),
            peer.unwrap_or_default(),
            self.ratio()
                .map(|ratio| format!("{}×", number(ratio)))
                .unwrap_or_default(),
            wanted.map(|wanted| wanted + goal).unwrap_or_default(),
        ]
    }
}

const HEADING: [&str; 5] = ["what", "Corundum", "native MRI", "ratio", "wanted"];

/// Renders the table as text.
pub(crate) fn text(rows: &[Row]) -> String {
    let cells: Vec<[String; 5]> = std::iter::once(HEADING.map(str::to_owned))
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &cells {
        let padded = row.iter().zip(&widths).map(|(cell, width)| {
            let room = width - cell.chars().count();
            format!("{cell}{}", " ".repeat(room))
        });
        let line = padded.collect::<Vec<_>>().join("   ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Renders the table as SVG, with a bar for each ratio on a logarithmic scale.
pub(crate) fn svg(rows: &[Row]) -> String {
    const LINE: usize = 30;
    const COLUMNS: [usize; 5] = [16, 300, 420, 560, 760];
    let height = LINE * (rows.len() + 1) + 12;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"{height}\" viewBox=\"0 0 860 {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"14\">\n\
         <style>text {{ fill: #24292f }} .head {{ font-weight: 600 }} .bar {{ fill: #b3123f }} .line {{ stroke: #d0d7de }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} .line {{ stroke: #30363d }} }}</style>\n"
    );
    let text = |svg: &mut String, x: usize, y: usize, class: &str, text: &str| {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{escaped}</text>"
        );
    };
    for (x, heading) in COLUMNS.into_iter().zip(HEADING) {
        text(&mut svg, x, 22, "head", heading);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = LINE * (index + 1) + 22;
        let rule = y - 20;
        let _ = writeln!(
            svg,
            "<line x1=\"8\" x2=\"852\" y1=\"{rule}\" y2=\"{rule}\" class=\"line\"/>"
        );
        let ratio = row.ratio().unwrap_or(0.0);
        // The whole width is a ratio of 1,000.
        let width = (ratio.max(1.0).log10() / 3.0 * 110.0).min(110.0);
        if row.ratio().is_some() {
            let (x, top) = (COLUMNS[3] + 62, y - 11);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{top}\" width=\"{width:.0}\" height=\"12\" rx=\"2\" class=\"bar\"/>"
            );
        }
        for (x, cell) in COLUMNS.into_iter().zip(row.cells()) {
            text(&mut svg, x, y, "", &cell);
        }
    }
    svg.push_str("</svg>\n");
    svg
}
