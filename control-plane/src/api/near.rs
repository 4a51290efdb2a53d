//! The known word that a mistyped one was most likely meant to be.

/// LIMIT: characters of a word that is compared; the work grows with the square, and no name that is meant is longer.
const CHARACTERS_MAX: usize = 128;

/// The known word that takes the fewest edits, if they are few for its length.
pub(super) fn nearest<'k>(mistyped: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if mistyped.chars().count() > CHARACTERS_MAX {
        return None;
    }
    let folded = mistyped.to_lowercase();
    let candidates = known.into_iter().filter(|word| word.len() <= CHARACTERS_MAX);
    let measured = candidates.map(|word| (edits(&folded, &word.to_lowercase()), word));
    measured.min().filter(|(edits, word)| edits * 3 <= word.len().max(3)).map(|(_, word)| word)
}

/// Insertions, deletions and replacements that make one word the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, from) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, to) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mistyped: &str, expected: Option<&str>) {
        assert_eq!(nearest(mistyped, ["wait", "validate_only", "page", "per_page"]), expected, "{mistyped}");
    }

    #[test]
    fn a_slip_is_mended_and_nonsense_is_not() {
        check("wiat", None);
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
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }
}
