//! Colour: only where a person reads, and never against their will.

use std::io::IsTerminal as _;

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Something is wrong, or goes.
    Red,
    /// Something comes.
    Green,
    /// Something may not be as it was meant.
    Yellow,
}

/// A text in a colour for standard output, where that takes colours.
pub(crate) fn on_output(text: &str, colour: Colour) -> String {
    paint(text, colour, is_wanted(std::io::stdout().is_terminal(), variable))
}

/// The same for standard error.
pub(crate) fn on_errors(text: &str, colour: Colour) -> String {
    paint(text, colour, is_wanted(std::io::stderr().is_terminal(), variable))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `NO_COLOR` (any value) goes before `CLICOLOR_FORCE` (any but 0), that before what the terminal says.
fn is_wanted(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    if variable("NO_COLOR").is_some() {
        return false;
    }
    if variable("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    is_terminal && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn paint(text: &str, colour: Colour, is_wanted: bool) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Green => 32,
        Colour::Yellow => 33,
    };
    if is_wanted { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_terminal: bool, variables: &[(&str, &str)], expected: bool) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(is_wanted(is_terminal, variable), expected, "{is_terminal} {variables:?}");
    }

    #[test]
    fn only_a_terminal_gets_colours_and_nobody_who_does_not_want_them() {
        check(true, &[], true);
        check(false, &[], false);
        check(true, &[("NO_COLOR", "1")], false);
        check(true, &[("NO_COLOR", "0")], false);
        check(true, &[("TERM", "dumb")], false);
        check(true, &[("TERM", "xterm")], true);
        check(false, &[("CLICOLOR_FORCE", "1")], true);
        check(false, &[("CLICOLOR_FORCE", "0")], false);
        check(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false);
    }

    #[test]
    fn a_colour_ends_with_its_text() {
        assert_eq!(paint("a", Colour::Red, true), "\u{1b}[31ma\u{1b}[0m");
        assert_eq!(paint("a", Colour::Green, false), "a");
    }
}
