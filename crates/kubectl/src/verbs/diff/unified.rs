//! A unified diff of two texts, with three lines of context.

const CONTEXT: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Keep,
    Remove,
    Add,
}

/// The hunks, or nothing for equal texts.
pub fn hunks(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&old, &new);
    let changed: Vec<usize> = (0..edits.len()).filter(|at| edits[*at] != Edit::Keep).collect();
    let near = |a: &usize, b: &usize| b - a <= 2 * CONTEXT + 1;
    changed.chunk_by(near).map(|run| hunk(&edits, &old, &new, run[0], run[run.len() - 1])).collect()
}

/// The shortest way from one to the other, by the longest common subsequence.
fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        let edit = match (i < old.len(), j < new.len()) {
            (true, true) if old[i] == new[j] => Edit::Keep,
            (true, true) if common[(i + 1) * width + j] >= common[i * width + j + 1] => Edit::Remove,
            (true, false) => Edit::Remove,
            _ => Edit::Add,
        };
        i += usize::from(edit != Edit::Add);
        j += usize::from(edit != Edit::Remove);
        edits.push(edit);
    }
    edits
}

fn hunk(edits: &[Edit], old: &[&str], new: &[&str], first: usize, last: usize) -> String {
    let (start, end) = (first.saturating_sub(CONTEXT), (last + CONTEXT + 1).min(edits.len()));
    let count = |range: &[Edit], without: Edit| range.iter().filter(|edit| **edit != without).count();
    let (mut i, mut j) = (count(&edits[..start], Edit::Add), count(&edits[..start], Edit::Remove));
    let (of_old, of_new) = (count(&edits[start..end], Edit::Add), count(&edits[start..end], Edit::Remove));
    let mut text = format!("@@ -{} +{} @@\n", range(i, of_old), range(j, of_new));
    for edit in &edits[start..end] {
        let (mark, line) = match edit {
            Edit::Keep => (' ', old[i]),
            Edit::Remove => ('-', old[i]),
            Edit::Add => ('+', new[j]),
        };
        text.push_str(&format!("{mark}{line}\n"));
        i += usize::from(*edit != Edit::Add);
        j += usize::from(*edit != Edit::Remove);
    }
    text
}

fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn changes_stand_in_their_context() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\n";
        expect![[r"
            @@ -1,4 +1,4 @@
            -a
            +A
             b
             c
             d
            @@ -9,4 +9,5 @@
             i
             j
             k
            +x
             l
        "]]
        .assert_eq(&hunks(old, &old.replace("a\n", "A\n").replace("l\n", "x\nl\n")));
        assert_eq!(hunks(old, old), "");
        assert_eq!(hunks("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
    }
}
