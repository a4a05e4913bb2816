//! Listings as tables: a heading in sentence case and aligned columns.

use std::io::Write;

use crate::output::Printer;

/// Spaces between two columns.
const GAP: &str = "  ";

/// A table that is printed whole, since the width of a column depends on all of its cells.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes a table without rows.
    pub fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Self {
            headings: headings.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell for each heading.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds several rows.
    #[must_use]
    pub fn with_rows<R: IntoIterator<Item = String>>(
        mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> Self {
        rows.into_iter().for_each(|cells| self.row(cells));
        self
    }

    /// Returns whether the table has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the heading and the rows.
    ///
    /// # Errors
    ///
    /// Standard output is closed.
    pub fn print(&self) -> std::io::Result<()> {
        Printer::of_values().write_all(self.render().as_bytes())
    }

    fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| self.width(column))
            .collect();
        let headings: Vec<&str> = self.headings.clone();
        let rows = self
            .rows
            .iter()
            .map(|row| row.iter().map(String::as_str).collect());
        let lines = std::iter::once(headings).chain(rows);
        lines.map(|cells| line(&cells, &widths)).collect()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths
            .chain([self.headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    }
}

fn line(cells: &[&str], widths: &[usize]) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:width$}"))
        .collect();
    padded.join(GAP).trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["App", "Release"]);
        assert!(table.is_empty());
        table.row(["bücher".to_owned(), "v1".to_owned()]);
        table.row(["a".to_owned(), String::new()]);
        assert_eq!(table.render(), "App     Release\nbücher  v1\na\n");
    }
}
