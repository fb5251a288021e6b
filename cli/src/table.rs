//! [`Table`], rows in columns that stay straight however many there are.

use std::fmt;

/// A column and what stands above it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Column {
    /// Of numbers and amounts, which stand to the right.
    Number(&'static str),
    /// Of all else, which stands to the left.
    Text(&'static str),
}

/// A heading and rows below it.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Table {
        let heading = columns.iter().map(|(Column::Number(name) | Column::Text(name))| (*name).to_owned());
        Table { columns: columns.to_vec(), rows: vec![heading.collect()] }
    }

    /// Adds a row with a cell for each column. What others have chosen does nothing to a terminal: control characters
    /// are written out.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().map(without_control).collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row: &Vec<String>| row.get(column));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).zip(&self.columns);
            let cells = cells.map(|((cell, width), column)| match column {
                Column::Number(_) => format!("{cell:>width$}"),
                Column::Text(_) => format!("{cell:<width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn without_control(cell: String) -> String {
    if !cell.contains(char::is_control) {
        return cell;
    }
    let write_out = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    cell.chars().map(write_out).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_straight() {
        let columns = [Column::Text("topic"), Column::Number("partition"), Column::Number("lag")];
        let mut table = Table::new(&columns);
        table.push(["orders".to_owned(), "0".to_owned(), "17".to_owned()]);
        table.push(["über".to_owned(), "10".to_owned(), "-".to_owned()]);
        assert_eq!(
            table.to_string(),
            "topic   partition  lag\norders          0   17\nüber           10    -\n"
        );
    }

    #[test]
    fn text_stands_to_the_left_whatever_it_begins_with() {
        let mut table = Table::new(&[Column::Text("member"), Column::Number("epoch")]);
        table.push(["01ab".to_owned(), "12".to_owned()]);
        table.push(["-".to_owned(), "3".to_owned()]);
        assert_eq!(table.to_string(), "member  epoch\n01ab       12\n-           3\n");
    }

    #[test]
    fn no_cell_breaks_a_line_or_reaches_the_terminal() {
        let mut table = Table::new(&[Column::Text("client"), Column::Text("metadata")]);
        table.push(["\u{1b}[2J\u{9b}".to_owned(), "a\nb\tc ü".to_owned()]);
        let text = table.to_string();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert_eq!(text.lines().last(), Some("\\u{1b}[2J\\u{9b}  a\\nb\\tc ü"));
    }
}
