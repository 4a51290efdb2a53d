//! What a mistyped word was most likely meant to be, and what there is to choose from.

/// LIMIT: characters of a word that is compared; the work grows with the square, and no name that is meant is longer.
const CHARACTERS_MAX: usize = 128;

/// The known word that takes the fewest edits, if they are few for its length.
pub fn nearest<'k>(mistyped: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if mistyped.chars().count() > CHARACTERS_MAX {
        return None;
    }
    let folded = mistyped.to_lowercase();
    let candidates = known.into_iter().filter(|word| word.len() <= CHARACTERS_MAX);
    let measured = candidates.map(|word| (edits(&folded, &word.to_lowercase()), word));
    measured.min().filter(|(edits, word)| edits * 3 <= word.len().max(3)).map(|(_, word)| word)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one word the other (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // The two rows above the present one.
    let mut above: Vec<usize> = (0..=to.len()).collect();
    let mut over: Vec<usize> = Vec::new();
    let mut before = None;
    for (index, letter) in from.chars().enumerate() {
        let mut row = vec![index + 1];
        for (column, wanted) in to.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&above, column) + usize::from(letter != *wanted);
            let mut fewest = replaced.min(at(&above, column + 1) + 1).min(at(&row, column) + 1);
            let former = column.checked_sub(1);
            let is_swap = before == Some(*wanted) && former.and_then(|former| to.get(former)) == Some(&letter);
            if let (true, Some(former)) = (is_swap, former) {
                fewest = fewest.min(at(&over, former) + 1);
            }
            row.push(fewest);
        }
        over = std::mem::replace(&mut above, row);
        before = Some(letter);
    }
    above.last().copied().unwrap_or_default()
}

/// LIMIT: names told in one mend. More are no help, and each of many faults tells them.
const LISTED_MAX: usize = 20;

/// What there is, for who named something else.
pub fn listed(names: &[&str]) -> String {
    listed_of(names.iter().copied())
}

/// The same of names that stand elsewhere: only those that are told are looked at.
pub fn listed_of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    let first = names.take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    match count.checked_sub(LISTED_MAX) {
        _ if count == 0 => "none".to_owned(),
        Some(more) if more > 0 => format!("{first} and {more} more"),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mistyped: &str, expected: Option<&str>) {
        assert_eq!(nearest(mistyped, ["wait", "validate_only", "page", "per_page"]), expected, "{mistyped}");
    }

    #[test]
    fn of_many_names_the_first_are_told() {
        assert_eq!((listed(&[]), listed(&["a", "b"])), ("none".to_owned(), "a, b".to_owned()));
        assert_eq!(listed(&["x"; 20]).matches('x').count(), 20);
        assert!(listed(&["x"; 23]).ends_with("x, x and 3 more"), "{}", listed(&["x"; 23]));
    }

    #[test]
    fn a_slip_is_mended_and_nonsense_is_not() {
        check("wiat", Some("wait"));
        check("wai", Some("wait"));
        check("Wait", Some("wait"));
        check("validate-only", Some("validate_only"));
        check("perpage", Some("per_page"));
        check("pretty", None);
        check("", None);
        check(&"x".repeat(1000), None);
    }

    #[test]
    fn edits_are_counted() {
        for (from, to, expected) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 1)]
        {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }
}
