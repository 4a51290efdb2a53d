//! Query parameters: each endpoint names those that it knows, any other is refused with the nearest known one.

use std::time::Duration;

use vamp_model::{BadSelector, Selector, nearest};

use super::problem::Problem;
use crate::persist::{Aggregator, Head};
use crate::samples::KEPT;

/// LIMIT: how long a write may wait for the gateways; a client that needs longer asks for the rollout again.
pub(super) const WAIT_MAX: Duration = Duration::from_mins(1);
/// LIMIT: items of one page; 1,000 gateways of 100 routes are about 20 MB.
pub(super) const PER_PAGE_MAX: u64 = 1000;
/// LIMIT: characters of a reason: it stands in every list of the history.
const REASON_CHARACTERS_MAX: usize = 500;
/// LIMIT: lines of logs of one answer.
pub(super) const TAIL_LINES_MAX: usize = 10_000;
const TAIL_LINES_DEFAULT: usize = 100;
/// LIMIT: labels of one question; each is looked for in every artifact of the kind.
const LABELS_MAX: usize = 32;
/// The time that metrics are about when nothing is said, as in the original.
const WINDOW_DEFAULT: Duration = Duration::from_mins(2);
/// Items of one page when nothing is said, as in the original.
const PER_PAGE_DEFAULT: u64 = 30;

/// The mend where an aggregator is none.
pub(super) const AGGREGATORS: &str = "use `count`, `average`, `min`, `max` or `sum`";
/// The mend where a moment is none.
pub(super) const MOMENTS: &str = "write it as `2026-01-31T12:00:00Z`, or as `now-15m`";

/// A query parameter, for the refusal of others and for the OpenAPI document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parameter {
    Page,
    PerPage,
    ValidateOnly,
    Wait,
    Reason,
    Limit,
    Below,
    Head,
    Against,
    Tag,
    Type,
    From,
    Until,
    Aggregator,
    Field,
    AsBlueprint,
    Delete,
    Deploy,
    Name,
    Label,
    Cluster,
    Service,
    Instance,
    Tail,
    Window,
    Flatten,
    ExpandReferences,
    OnlyReferences,
}

impl Parameter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::PerPage => "per_page",
            Self::ValidateOnly => "validate_only",
            Self::Wait => "wait",
            Self::Reason => "reason",
            Self::Limit => "limit",
            Self::Below => "below",
            Self::Head => "head",
            Self::Against => "against",
            Self::Tag => "tag",
            Self::Type => "type",
            Self::From => "from",
            Self::Until => "until",
            Self::Aggregator => "aggregator",
            Self::Field => "field",
            Self::AsBlueprint => "as_blueprint",
            Self::Delete => "delete",
            Self::Deploy => "deploy",
            Self::Name => "name",
            Self::Label => "label",
            Self::Cluster => "cluster",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Tail => "tail",
            Self::Window => "window",
            Self::Flatten => "flatten",
            Self::ExpandReferences => "expand_references",
            Self::OnlyReferences => "only_references",
        }
    }

    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Page => "Which page, from 1.",
            Self::PerPage => "Items of one page, 1 to 1,000; 30 when left out.",
            Self::ValidateOnly => {
                "`true`: everything is checked and answered as if it were done, and nothing is stored."
            }
            Self::Wait => {
                "Waits until every registered gateway process serves the change, up to this long: `5s`, `500ms`, `1m`; \
                 at most `60s`. The answer has a member `rollout`; 202 says that some do not serve it yet."
            }
            Self::Reason => "Why, in words, up to 500 characters: kept with the change, and shown in the history.",
            Self::Limit => "How many, 1 to 1,000; 100 when left out.",
            Self::Below => "Only those below this number: the last one of the page before.",
            Self::Head => "A change that was seen before, as `NUMBER:HASH`; it must be there still.",
            Self::Against => "The version to compare with; the one before when left out.",
            Self::Tag => "A tag that the events have; may stand several times: they have all of them.",
            Self::Type => "The type of the events.",
            Self::From => "The first moment, RFC 3339, or so long before now: `now-90s`, `now-15m`, `now-2h`.",
            Self::Until => "The first moment that is too late, written as in `from`.",
            Self::Aggregator => {
                "Answers one number in place of the events: how many there are, or the average, smallest, largest or sum \
                 of the values that are numbers; null when there is none."
            }
            Self::Field => {
                "Which number `aggregator` takes: `value`, or `value.NAME` for a member of it; `value` when left out."
            }
            Self::AsBlueprint => "`true`: as a blueprint from which the same can be deployed.",
            Self::Name => "The name of the blueprint.",
            Self::Deploy => {
                "`true`: each blueprint is deployed too, under its own name, in the same change: what it says anew wins, \
                 weights and scales that were moved since it was stored stay, and what it does not name is left."
            }
            Self::Delete => "`true`: the services that the body names, at least one, are removed from the deployment.",
            Self::Label => {
                "Only those whose `metadata` has this: `team=shop`, `team!=shop`, `team` or `!team`; may stand several \
                 times: all of it must hold."
            }
            Self::Cluster => "Only of this cluster.",
            Self::Service => "Only of services with this breed.",
            Self::Instance => "Only of this instance.",
            Self::Tail => "How many lines, 0 to 10,000; 100 when left out. Very long ones count for more.",
            Self::Window => {
                "The last seconds that are wanted: `30s`, `5m`, up to ten minutes; two minutes when left out."
            }
            Self::Flatten => "`true`: as one map from whole names to values.",
            Self::ExpandReferences => "`true`: with everything written out that is referred to.",
            Self::OnlyReferences => "`true`: with nothing of breeds but their names. Both, or none: as it is stored.",
        }
    }
}

/// The parameters of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    pairs: Vec<(Parameter, String)>,
}

/// A part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    /// From 1.
    pub(super) number: u64,
    /// 1 to [`PER_PAGE_MAX`].
    pub(super) size: u64,
}

/// How much of what an artifact refers to is shown in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What stands in the stored document.
    Stored,
    /// All of it.
    Expanded,
    /// Of breeds nothing but their names.
    Contracted,
}

impl Query {
    /// Reads the text after `?`.
    pub(super) fn parse(text: &str, known: &[Parameter]) -> Result<Self, Problem> {
        let mut pairs: Vec<(Parameter, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let Some(parameter) = known.iter().copied().find(|parameter| parameter.name() == name) else {
                return Err(unknown(&name, known));
            };
            let may_repeat = matches!(parameter, Parameter::Tag | Parameter::Label);
            if !may_repeat && pairs.iter().any(|(given, _)| *given == parameter) {
                let message = format!("the query parameter `{name}` stands twice");
                return Err(Problem::bad_request(message, "keep one of them"));
            }
            pairs.push((parameter, value.into_owned()));
        }
        Ok(Self { pairs })
    }

    fn get(&self, parameter: Parameter) -> Option<&str> {
        self.pairs.iter().find(|(given, _)| *given == parameter).map(|(_, value)| value.as_str())
    }

    /// `page` and `per_page`.
    pub(super) fn page(&self) -> Result<Page, Problem> {
        let number = self.number(Parameter::Page, 1, u64::from(u32::MAX))?;
        let size = self.number(Parameter::PerPage, PER_PAGE_DEFAULT, PER_PAGE_MAX)?;
        Ok(Page { number, size })
    }

    /// `limit`.
    pub(super) fn limit(&self) -> Result<u64, Problem> {
        self.number(Parameter::Limit, 100, PER_PAGE_MAX)
    }

    /// `reason`; empty when it is left out.
    pub(super) fn reason(&self) -> Result<String, Problem> {
        let text = self.get(Parameter::Reason).unwrap_or_default();
        if text.chars().count() > REASON_CHARACTERS_MAX || text.chars().any(char::is_control) {
            let mend = format!("use up to {REASON_CHARACTERS_MAX} characters in one line");
            return Err(refuse(Parameter::Reason, text, &mend));
        }
        Ok(text.to_owned())
    }

    /// `tag`, each.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.all(Parameter::Tag)
    }

    /// `label`, each.
    pub(super) fn labels(&self) -> Result<Vec<Selector>, Problem> {
        let given: Vec<&str> = self.all(Parameter::Label).collect();
        if given.len() > LABELS_MAX {
            let mend = format!("ask for up to {LABELS_MAX}");
            return Err(Problem::bad_request("the request has too many labels", mend));
        }
        let read = |text: &str| text.parse().map_err(|error: BadSelector| Problem::bad_request(error.to_string(), ""));
        given.into_iter().map(read).collect()
    }

    fn all(&self, parameter: Parameter) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(given, _)| *given == parameter).map(|(_, value)| value.as_str())
    }

    /// A parameter that is any text.
    pub(super) fn text(&self, parameter: Parameter) -> Option<&str> {
        self.get(parameter)
    }

    /// `tail`.
    pub(super) fn tail(&self) -> Result<usize, Problem> {
        let Some(text) = self.get(Parameter::Tail) else { return Ok(TAIL_LINES_DEFAULT) };
        let number = text.parse::<usize>().ok().filter(|number| *number <= TAIL_LINES_MAX);
        let mend = format!("use a number from 0 to {TAIL_LINES_MAX}");
        number.ok_or_else(|| refuse(Parameter::Tail, text, &mend))
    }

    /// `type`.
    pub(super) fn kind(&self) -> Option<&str> {
        self.get(Parameter::Type)
    }

    /// `from` and `until`, milliseconds since 1970 (UTC).
    pub(super) fn times(&self, now_unix_ms: u64) -> Result<(Option<u64>, Option<u64>), Problem> {
        let time = |parameter| {
            let Some(text) = self.get(parameter) else { return Ok(None) };
            moment(text, now_unix_ms).map(Some).ok_or_else(|| refuse(parameter, text, MOMENTS))
        };
        Ok((time(Parameter::From)?, time(Parameter::Until)?))
    }

    /// `aggregator`.
    pub(super) fn aggregator(&self) -> Result<Option<Aggregator>, Problem> {
        let Some(text) = self.get(Parameter::Aggregator) else { return Ok(None) };
        aggregator(text).map(Some).ok_or_else(|| refuse(Parameter::Aggregator, text, AGGREGATORS))
    }

    /// All but the page, as it stands in an address; empty when there is nothing else.
    pub(super) fn without_page(&self) -> String {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        let others = self.pairs.iter().filter(|(name, _)| !matches!(name, Parameter::Page | Parameter::PerPage));
        for (name, value) in others {
            text.append_pair(name.name(), value);
        }
        let text = text.finish();
        if text.is_empty() { text } else { format!("?{text}") }
    }

    /// `below`.
    pub(super) fn below(&self) -> Result<Option<u64>, Problem> {
        self.get(Parameter::Below).map(|_| self.number(Parameter::Below, 1, u64::from(u32::MAX) << 16)).transpose()
    }

    /// `against`.
    pub(super) fn against(&self) -> Result<Option<u64>, Problem> {
        self.get(Parameter::Against).map(|_| self.number(Parameter::Against, 1, u64::from(u32::MAX))).transpose()
    }

    /// `head`.
    pub(super) fn head(&self) -> Result<Option<Head>, Problem> {
        let Some(text) = self.get(Parameter::Head) else { return Ok(None) };
        let is_hash = |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let head = text.split_once(':').and_then(|(sequence, hash)| {
            Some(Head { sequence: sequence.parse().ok()?, hash: Some(hash).filter(|hash| is_hash(hash))?.to_owned() })
        });
        let mend = "write it as the audit did: the number, a colon, 64 hexadecimal digits";
        head.map(Some).ok_or_else(|| refuse(Parameter::Head, text, mend))
    }

    fn number(&self, parameter: Parameter, default: u64, max: u64) -> Result<u64, Problem> {
        let Some(text) = self.get(parameter) else { return Ok(default) };
        let number = text.parse::<u64>().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| refuse(parameter, text, &format!("use a number from 1 to {max}")))
    }

    /// `validate_only`.
    pub(super) fn validate_only(&self) -> Result<bool, Problem> {
        self.switch(Parameter::ValidateOnly)
    }

    /// A parameter that is true or false.
    pub(super) fn switch(&self, parameter: Parameter) -> Result<bool, Problem> {
        match self.get(parameter) {
            Some("true" | "yes" | "on" | "1") => Ok(true),
            None | Some("false" | "no" | "off" | "0") => Ok(false),
            Some(text) => Err(refuse(parameter, text, "use `true` or `false`")),
        }
    }

    /// `expand_references` and `only_references`.
    pub(super) fn form(&self) -> Result<Form, Problem> {
        let expanded = self.switch(Parameter::ExpandReferences)?;
        let contracted = self.switch(Parameter::OnlyReferences)?;
        Ok(match (expanded, contracted) {
            (true, false) => Form::Expanded,
            (false, true) => Form::Contracted,
            _ => Form::Stored,
        })
    }

    /// `window`, from a second to what is kept.
    pub(super) fn window(&self) -> Result<Duration, Problem> {
        let Some(text) = self.get(Parameter::Window) else { return Ok(WINDOW_DEFAULT) };
        let window = duration(text).filter(|window| (Duration::from_secs(1)..=KEPT).contains(window));
        window.ok_or_else(|| refuse(Parameter::Window, text, "use a time from `1s` to `10m`"))
    }

    /// `wait`.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.get(Parameter::Wait) else { return Ok(None) };
        let mend = "use a time up to `60s`, such as `5s` or `500ms`";
        match duration(text).filter(|wait| *wait <= WAIT_MAX) {
            Some(wait) => Ok(Some(wait)),
            None => Err(refuse(Parameter::Wait, text, mend)),
        }
    }
}

fn unknown(name: &str, known: &[Parameter]) -> Problem {
    let names: Vec<&str> = known.iter().map(|parameter| parameter.name()).collect();
    let mend = match nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if names.is_empty() => "it takes none".to_owned(),
        None => format!("it takes {}", names.join(", ")),
    };
    Problem::bad_request(format!("this address has no query parameter `{}`", shown(name)), mend)
}

fn refuse(parameter: Parameter, text: &str, mend: &str) -> Problem {
    Problem::bad_request(format!("the query parameter `{}` is `{}`", parameter.name(), shown(text)), mend)
}

/// What a client sent, as it may stand in a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

/// How events become one number, by its name.
pub(super) fn aggregator(text: &str) -> Option<Aggregator> {
    Some(match text.to_ascii_lowercase().as_str() {
        "count" => Aggregator::Count,
        "average" | "avg" => Aggregator::Average,
        "min" => Aggregator::Min,
        "max" => Aggregator::Max,
        "sum" => Aggregator::Sum,
        _ => return None,
    })
}

/// A moment, milliseconds since 1970 (UTC).
pub(super) fn moment(text: &str, now_unix_ms: u64) -> Option<u64> {
    if let Some(before) = text.strip_prefix("now") {
        let before = if before.is_empty() { Some(Duration::ZERO) } else { ago(before.strip_prefix('-')?) };
        return now_unix_ms.checked_sub(u64::try_from(before?.as_millis()).ok()?);
    }
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

fn ago(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?))
}

/// `5s`, `500ms`, `1m`, or seconds without a unit.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|found: char| !found.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = number.parse::<u64>().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Parameter] = &[Parameter::Page, Parameter::PerPage, Parameter::ValidateOnly, Parameter::Wait];

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, expected) in [
            ("5s", Some(5000)),
            ("500ms", Some(500)),
            ("1m", Some(60_000)),
            ("7", Some(7000)),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("5h", None),
            ("1.5s", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn moments_are_read() {
        let now = 100_000_000;
        for (text, expected) in [
            ("now", Some(now)),
            ("now-90s", Some(now - 90_000)),
            ("now-2h", Some(now - 7_200_000)),
            ("now-1d", Some(now - 86_400_000)),
            ("1970-01-01T00:00:01.5Z", Some(1500)),
            ("1970-01-01T01:00:01+01:00", Some(1000)),
            ("now+1h", None),
            ("now-ünü", None),
            ("now-", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment(text, now), expected, "{text}");
        }
    }

    #[track_caller]
    fn check_refused(text: &str, part: &str) {
        let query = Query::parse(text, ALL);
        let refused = query.and_then(|query| {
            query.page()?;
            query.validate_only()?;
            query.wait()
        });
        let message = refused.unwrap_err().message();
        assert!(message.contains(part), "{text}: {message}");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_a_mend() {
        check_refused("wai=5s", "did you mean `wait`?");
        check_refused("pretty", "page, per_page, validate_only, wait");
        check_refused("wait=5s&wait=6s", "stands twice");
        check_refused("wait=61s", "up to `60s`");
        check_refused("wait=soon", "`5s`");
        check_refused("page=0", "1 to");
        check_refused("per_page=1001", "1 to 1000");
        check_refused("validate_only=maybe", "`true` or `false`");
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let query = Query::parse("", ALL).unwrap();
        assert_eq!(query.page().unwrap(), Page { number: 1, size: 30 });
        assert!(!query.validate_only().unwrap());
        assert_eq!(query.wait().unwrap(), None);
    }
}
