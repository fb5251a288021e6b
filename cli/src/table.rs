//! [`Table`], rows in columns that stay straight however many there are.

use std::fmt;

/// A heading and rows below it. Numbers stand to the right, names to the left.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row with a cell for each column.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether all cells of a column below its heading are numbers, or a dash for none.
    fn is_number(&self, column: usize) -> bool {
        let cells = self.rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.into_iter().all(|cell| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let columns: Vec<(usize, bool)> =
            (0..columns).map(|column| (width(column), self.is_number(column))).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&columns).map(|(cell, (width, is_number))| match is_number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_straight() {
        let mut table = Table::new(&["topic", "partition", "lag"]);
        table.push(["orders".to_owned(), "0".to_owned(), "17".to_owned()]);
        table.push(["über".to_owned(), "10".to_owned(), "-".to_owned()]);
        assert_eq!(
            table.to_string(),
            "topic   partition  lag\norders          0   17\nüber           10    -\n"
        );
    }
}
