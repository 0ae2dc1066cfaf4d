//! Elastic tab stops: a column is as wide as the widest cell of the run of lines that have it.

/// Collects tab-separated lines and aligns them.
#[derive(Debug)]
pub struct TabWriter {
    min_width: usize,
    padding: usize,
    /// The greatest widths seen so far, where columns must not shrink from one flush to the next.
    remembered: Option<Vec<usize>>,
    text: String,
}

impl TabWriter {
    /// For tables.
    pub fn table() -> Self {
        Self { min_width: 6, padding: 3, remembered: Some(Vec::new()), text: String::new() }
    }

    /// For lists of revisions.
    pub fn history() -> Self {
        Self { padding: 2, min_width: 0, ..Self::description() }
    }

    /// For descriptions.
    pub fn description() -> Self {
        Self { min_width: 0, padding: 2, remembered: None, text: String::new() }
    }

    pub fn write(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn into_text(self) -> String {
        self.text
    }

    /// What was written since the last flush, aligned.
    pub fn flush(&mut self) -> String {
        let text = std::mem::take(&mut self.text);
        let mut lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
        // What follows the last line end is no line.
        let ended = lines.last().is_some_and(|line| *line == [""]);
        if ended {
            lines.pop();
        }
        let mut widths = vec![Vec::new(); lines.len()];
        self.measure(&lines, 0, &mut widths, 0..lines.len());
        let mut out = String::with_capacity(text.len() * 2);
        for (index, (line, widths)) in lines.iter().zip(&widths).enumerate() {
            write_line(&mut out, line, widths);
            if ended || index + 1 < lines.len() {
                out.push('\n');
            }
        }
        out
    }

    /// Gives each line of a range the widths of its columns from `column` on.
    fn measure(
        &mut self,
        lines: &[Vec<&str>],
        column: usize,
        widths: &mut [Vec<usize>],
        range: std::ops::Range<usize>,
    ) {
        let has_column = |line: &Vec<&str>| column + 1 < line.len();
        let mut at = range.start;
        while at < range.end {
            if !has_column(&lines[at]) {
                at += 1;
                continue;
            }
            let end = (at..range.end).find(|index| !has_column(&lines[*index])).unwrap_or(range.end);
            let widest =
                lines[at..end].iter().map(|line| line[column].chars().count() + self.padding).max().unwrap_or(0);
            let width = self.remember(column, widest.max(self.min_width));
            widths[at..end].iter_mut().for_each(|widths| widths.push(width));
            self.measure(lines, column + 1, widths, at..end);
            at = end;
        }
    }

    fn remember(&mut self, column: usize, width: usize) -> usize {
        let Some(remembered) = &mut self.remembered else { return width };
        if remembered.len() <= column {
            remembered.resize(column + 1, 0);
        }
        remembered[column] = remembered[column].max(width);
        remembered[column]
    }
}

fn write_line(out: &mut String, cells: &[&str], widths: &[usize]) {
    for (index, cell) in cells.iter().enumerate() {
        out.push_str(cell);
        if let Some(width) = widths.get(index) {
            let padding = width.saturating_sub(cell.chars().count());
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn tables_align_and_remember() {
        let mut writer = TabWriter::table();
        writer.write("NAME\tREADY\tAGE\na-long-name\t1/1\t5s\n");
        expect![[r#"
            NAME          READY   AGE
            a-long-name   1/1     5s
        "#]]
        .assert_eq(&writer.flush());
        writer.write("b\t0/1\t6s\n");
        assert_eq!(writer.flush(), "b             0/1     6s\n");
    }

    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        let mut writer = TabWriter::description();
        writer.write("Name:\tx\nLabels:\ta=b\n\tc=d\nplain\nA:\tb\n");
        expect![[r#"
            Name:    x
            Labels:  a=b
                     c=d
            plain
            A:  b
        "#]]
        .assert_eq(&writer.flush());
    }
}
