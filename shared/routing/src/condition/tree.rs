//! The tree of a condition and what it means. It is evaluated as it stands, from left to right, and no further than
//! needed; its depth is bounded by the parser.

use super::request::{HostForm, Subject};
use super::values::{Agent, Needle, Networks, OneOf, Pattern, ends_with, has_segment, is_under, starts_with};
use crate::Head;

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Always(bool),
    Test(Box<Test>),
    Not(Box<Node>),
    /// Two or more, none of them an `All`.
    All(Vec<Node>),
    /// Two or more, none of them an `Any`.
    Any(Vec<Node>),
}

/// One look at the request: does some value of the subject stand in this relation?
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    pub(super) subject: Subject,
    pub(super) relation: Relation,
    /// Letters are compared without case.
    pub(super) fold: bool,
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Relation {
    /// That there is one.
    Present,
    /// How many there are.
    Count(Comparison, u32),
    Is(OneOf),
    Has(Needle),
    Starts(Box<str>),
    Ends(Box<str>),
    /// Without slashes at the end.
    Under(Box<str>),
    /// Without slashes at its ends.
    Segment(Box<str>),
    Matches(Pattern),
    /// An address that is inside.
    Inside(Networks),
    Agent(Agent),
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Node {
    pub(super) fn test(subject: Subject, relation: Relation) -> Self {
        let fold = matches!(subject, Subject::Host(_));
        Self::Test(Box::new(Test { subject, relation, fold }))
    }

    /// All of them; one stands for itself, and a list inside a list is one list.
    pub(super) fn all(mut nodes: Vec<Self>) -> Self {
        if nodes.len() == 1
            && let Some(only) = nodes.pop()
        {
            return only;
        }
        let inner = |node| match node {
            Self::All(nodes) => nodes,
            other => vec![other],
        };
        Self::All(nodes.into_iter().flat_map(inner).collect())
    }

    /// Any of them; one stands for itself, and a list inside a list is one list.
    pub(super) fn any(mut nodes: Vec<Self>) -> Self {
        if nodes.len() == 1
            && let Some(only) = nodes.pop()
        {
            return only;
        }
        let inner = |node| match node {
            Self::Any(nodes) => nodes,
            other => vec![other],
        };
        Self::Any(nodes.into_iter().flat_map(inner).collect())
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::Always(holds) => Self::Always(!holds),
            Self::Not(node) => *node,
            other => Self::Not(Box::new(other)),
        }
    }

    pub(super) fn negated_if(self, negate: bool) -> Self {
        if negate { self.negated() } else { self }
    }

    /// The first test of something else than the client's address.
    pub(super) fn test_of_requests(&self) -> Option<&Self> {
        match self {
            Self::Always(_) => None,
            Self::Test(test) => (test.subject != Subject::Source).then_some(self),
            Self::Not(node) => node.test_of_requests(),
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().find_map(Self::test_of_requests),
        }
    }

    pub(super) fn holds<H: Head>(&self, head: &H) -> bool {
        match self {
            Self::Always(holds) => *holds,
            Self::Test(test) => test.holds(head),
            Self::Not(node) => !node.holds(head),
            Self::All(nodes) => nodes.iter().all(|node| node.holds(head)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(head)),
        }
    }
}

impl Test {
    fn holds<H: Head>(&self, head: &H) -> bool {
        let (subject, fold) = (&self.subject, self.fold);
        match &self.relation {
            Relation::Present => subject.any(head, |_| true),
            Relation::Count(comparison, number) => comparison.holds(subject.count(head), *number),
            Relation::Is(texts) => subject.any(head, |value| texts.has(value, fold)),
            Relation::Has(needle) => subject.any(head, |value| needle.is_in(value, fold)),
            Relation::Starts(text) => subject.any(head, |value| starts_with(value, text.as_bytes(), fold)),
            Relation::Ends(text) => subject.any(head, |value| ends_with(value, text.as_bytes(), fold)),
            Relation::Under(top) => subject.any(head, |value| is_under(value, top.as_bytes())),
            Relation::Segment(text) => subject.any(head, |value| has_segment(value, text.as_bytes(), fold)),
            Relation::Matches(pattern) => subject.any(head, |value| pattern.is_match(value)),
            Relation::Inside(networks) if *subject == Subject::Source => networks.have(head.source()),
            Relation::Inside(networks) => subject.any(head, |value| {
                let address = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                address.is_some_and(|address| networks.have(address))
            }),
            Relation::Agent(agent) => agent
                .marks()
                .iter()
                .all(|mark| subject.any(head, |value| memchr::memmem::find(value, mark.as_bytes()).is_some())),
        }
    }
}

impl Comparison {
    pub(super) const ALL: [(&'static str, Self); 5] = [
        ("eq", Self::Equal),
        ("gt", Self::Greater),
        ("ge", Self::GreaterOrEqual),
        ("lt", Self::Less),
        ("le", Self::LessOrEqual),
    ];

    pub(super) fn holds(self, count: usize, number: u32) -> bool {
        let Ok(count) = u32::try_from(count) else { return matches!(self, Self::Greater | Self::GreaterOrEqual) };
        match self {
            Self::Equal => count == number,
            Self::Greater => count > number,
            Self::GreaterOrEqual => count >= number,
            Self::Less => count < number,
            Self::LessOrEqual => count <= number,
        }
    }
}

/// Relations of text, before they are bound to a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextRelation {
    Is,
    Has,
    Starts,
    Ends,
    Under,
    Segment,
    Matches,
}

impl TextRelation {
    /// The test of `subject` for `text`; the error says what is wrong with a regular expression.
    pub(super) fn test(self, subject: Subject, text: &str, fold: bool) -> Result<Node, String> {
        let is_host = matches!(subject, Subject::Host(_));
        let fold = fold || is_host;
        let lowered: Box<str> = if fold { text.to_ascii_lowercase().into() } else { text.into() };
        let relation = match self {
            Self::Is => return Ok(is_one_of(subject, vec![text.into()], fold)),
            Self::Has => Relation::Has(Needle::new(lowered)),
            Self::Starts => Relation::Starts(lowered),
            Self::Ends => Relation::Ends(lowered),
            Self::Under => Relation::Under(text.trim_end_matches('/').into()),
            Self::Segment => Relation::Segment(lowered.trim_matches(['/', '?']).into()),
            Self::Matches => Relation::Matches(Pattern::new(text, fold)?),
        };
        // Whether an expression means the port can't be known.
        let form = if self == Self::Matches { HostForm::Either } else { HostForm::of(text) };
        let subject = if is_host { Subject::Host(form) } else { subject };
        Ok(Node::Test(Box::new(Test { subject, relation, fold })))
    }
}

/// The test for being one of these.
pub(super) fn is_one_of(subject: Subject, texts: Vec<Box<str>>, fold: bool) -> Node {
    // Each value is compared with the form that it has itself: one without a port never equals one with it.
    let subject = if matches!(subject, Subject::Host(_)) { Subject::Host(HostForm::Either) } else { subject };
    let fold = fold || matches!(subject, Subject::Host(_));
    let lower = |text: Box<str>| if fold { text.to_ascii_lowercase().into() } else { text };
    let texts = OneOf::new(texts.into_iter().map(lower).collect());
    Node::Test(Box::new(Test { subject, relation: Relation::Is(texts), fold }))
}
