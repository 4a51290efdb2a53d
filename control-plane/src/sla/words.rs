//! Verdicts in words and as events: which numbers led to what.

use serde_json::{Value, json};
use vamp_model::Figure;

use super::escalate::{Direction, Step, amount, word};
use super::machine::{Because, ClusterName, Figures, Rule, Verdict};
use crate::persist::NewEvent;

/// The type of what is told here.
pub(super) const KIND: &str = "event";
/// Stands on everything about promises.
pub(super) const TAG: &str = "sla";
/// Stands on decisions only: who asks for one by an event leaves it out.
pub(super) const DECIDED: &str = "escalation";
/// Stands on what would be done and can't.
pub(super) const STUCK: &str = "sla:stuck";
/// Stands on what is not known.
const BLIND: &str = "sla:unknown";

impl Direction {
    /// The tag by which people and programs ask for it, as in the original.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::Up => "sla:escalate",
            Self::Down => "sla:deescalate",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A verdict, told.
pub(super) struct Told {
    /// In a line.
    pub(super) text: String,
    /// As an event.
    pub(super) event: NewEvent,
}

/// What is told of a verdict. `sla`: the stored promise, if it is one.
pub(super) fn tell(verdict: &Verdict, sla: Option<&str>, at_unix_ms: u64) -> Told {
    let promise = |name: &ClusterName| match sla {
        Some(sla) => format!("SLA {sla} of {name}"),
        None => format!("SLA of {name}"),
    };
    let (name, text, mut tags, value) = match verdict {
        Verdict::Act { name, direction, steps, because } => {
            let changes: Vec<String> = steps.iter().map(|step| step_in_words(name, step)).collect();
            let text = format!("{}: {}: {}", promise(name), why(because, *direction), changes.join(", "));
            let mut tags = vec![direction.tag().to_owned(), format!("{DECIDED}:{}", direction.word())];
            tags.extend(steps.iter().map(|step| format!("services:{}", step.service)));
            let steps: Vec<Value> = steps.iter().map(step_value).collect();
            (name, text, tags, json!({"numbers": numbers(because), "steps": steps}))
        }
        Verdict::Stuck { name, direction, refusals, because } => {
            let refusals = if refusals.is_empty() { "nothing follows from it".to_owned() } else { refusals.join(", ") };
            let text = format!("{}: {}, and nothing is done: {refusals}", promise(name), why(because, *direction));
            (name, text, vec![STUCK.to_owned()], json!({"numbers": numbers(because), "direction": direction.word()}))
        }
        Verdict::Blind { name, why } => {
            let text = format!("{}: nothing is decided, because the numbers are not known: {why}", promise(name));
            (name, text, vec![BLIND.to_owned()], json!({}))
        }
    };
    let ClusterName { deployment, cluster } = name;
    tags.extend([TAG.to_owned(), format!("deployments:{deployment}"), format!("clusters:{cluster}")]);
    // As the original wrote them.
    tags.extend([format!("deployment:{deployment}"), format!("cluster:{cluster}")]);
    let mut value = value;
    if let Some(value) = value.as_object_mut() {
        value.insert("message".to_owned(), text.as_str().into());
        value.insert("sla".to_owned(), sla.into());
    }
    let event = NewEvent { value: Some(value), ..NewEvent::new(KIND, tags, at_unix_ms) };
    Told { text, event }
}

fn step_in_words(name: &ClusterName, step: &Step) -> String {
    let Step { cluster, service, what, from, to } = step;
    let place = if *cluster == name.cluster { String::new() } else { format!("{cluster}/") };
    let what_word = word(*what);
    format!("{what_word} of {place}{service} {} → {}", amount(*what, *from), amount(*what, *to))
}

fn step_value(step: &Step) -> Value {
    json!({
        "cluster": step.cluster,
        "service": step.service,
        "what": step.what.word(),
        "from": amount(step.what, step.from),
        "to": amount(step.what, step.to),
    })
}

fn numbers(because: &Because) -> Value {
    match because {
        Because::Asked(event) => json!({"event": event}),
        Because::Measured(rule, figures) => json!({
            "figure": rule.figure.word(),
            "value": figures.whole,
            "highest": figures.highest,
            "upper": rule.upper,
            "lower": rule.lower,
            "window_ms": figures.length_ms,
            "requests": figures.requests,
        }),
    }
}

fn why(because: &Because, direction: Direction) -> String {
    let (rule, figures) = match because {
        Because::Asked(event) => return format!("event {event} asks for {}", direction.tag()),
        Because::Measured(rule, figures) => (rule, figures),
    };
    let window = window(rule, figures);
    let (name, unit) = named(rule.figure);
    match direction {
        Direction::Up => {
            let value = rounded(figures.whole.unwrap_or_default());
            format!("{name} {value} {unit} over {window} is above {} {unit}", rounded(rule.upper))
        }
        Direction::Down if figures.requests == 0 && rule.figure != Figure::Cpu => window,
        Direction::Down => {
            let value = rounded(figures.highest);
            format!("{name} {value} {unit} at most over {window} is below {} {unit}", rounded(rule.lower))
        }
    }
}

fn window(rule: &Rule, figures: &Figures) -> String {
    let seconds = rounded(crate::samples::number(figures.length_ms) / 1_000.0);
    match (rule.figure, figures.requests) {
        (Figure::Cpu, _) => format!("{seconds} s"),
        (_, 0) => format!("no request in {seconds} s"),
        (_, 1) => format!("{seconds} s (1 request)"),
        (_, requests) => format!("{seconds} s ({} requests)", grouped(requests)),
    }
}

fn named(figure: Figure) -> (&'static str, &'static str) {
    match figure {
        Figure::ResponseTime => ("mean response time", "ms"),
        Figure::ErrorRate => ("error rate", "%"),
        Figure::RequestRate => ("requests for each instance", "1/s"),
        Figure::Cpu => ("processor time", "% of the scale"),
    }
}

/// As many digits as people read.
fn rounded(number: f64) -> String {
    let text = if number.abs() >= 100.0 { format!("{number:.0}") } else { format!("{number:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use vamp_model::unit::{Cpu, Memory};
    use vamp_model::{Scaled, Size};

    use super::*;

    fn name() -> ClusterName {
        ClusterName { deployment: "shop".to_owned(), cluster: "web".to_owned() }
    }

    fn size(instances: u32) -> Size {
        Size { cpu: Cpu(500), memory: Memory(64_000_000), instances }
    }

    fn because(figure: Figure, requests: u64, whole: f64, highest: f64) -> Because {
        let rule = Rule { figure, upper: 500.0, lower: 100.5, interval_ms: 60_000, cooldown_ms: 1 };
        Because::Measured(rule, Figures { from_ms: 0, length_ms: 60_000, requests, whole: Some(whole), highest })
    }

    fn step(cluster: &str, what: Scaled, to: Size) -> Step {
        Step { cluster: cluster.to_owned(), service: "web:1".to_owned(), what, from: size(2), to }
    }

    #[test]
    fn a_decision_says_which_numbers_led_to_what() {
        let more = step("web", Scaled::Instances, size(3));
        let cpu = step("store", Scaled::Cpu, Size { cpu: Cpu(700), ..size(2) });
        let up = |because, steps| Verdict::Act { name: name(), direction: Direction::Up, steps, because };
        let down = |because| Verdict::Act { name: name(), direction: Direction::Down, steps: Vec::new(), because };
        let full = vec!["the number of instances of web:1 is 3, the bound is 3".to_owned()];
        let asked = Because::Asked(7);
        for (verdict, expected) in [
            (
                up(because(Figure::ResponseTime, 1_240, 812.4, 0.0), vec![more.clone(), cpu]),
                "SLA of shop/web: mean response time 812 ms over 60 s (1,240 requests) is above 500 ms: \
                 the number of instances of web:1 2 → 3, cpu of store/web:1 0.5 → 0.7",
            ),
            (
                down(because(Figure::ErrorRate, 1, 0.0, 3.25)),
                "SLA of shop/web: error rate 3.25 % at most over 60 s (1 request) is below 100 %: ",
            ),
            (down(because(Figure::ResponseTime, 0, 0.0, 0.0)), "SLA of shop/web: no request in 60 s: "),
            (
                down(because(Figure::Cpu, 0, 3.0, 20.0)),
                "SLA of shop/web: processor time 20 % of the scale at most over 60 s is below 100 % of the scale: ",
            ),
            (
                up(asked, vec![more]),
                "SLA of shop/web: event 7 asks for sla:escalate: the number of instances of web:1 2 → 3",
            ),
            (
                Verdict::Stuck { name: name(), direction: Direction::Up, refusals: full, because: asked },
                "SLA of shop/web: event 7 asks for sla:escalate, and nothing is done: \
                 the number of instances of web:1 is 3, the bound is 3",
            ),
        ] {
            assert_eq!(tell(&verdict, None, 0).text, expected);
        }
    }

    #[test]
    fn an_event_is_found_by_what_it_is_about() {
        let steps = vec![step("web", Scaled::Instances, size(3))];
        let because = because(Figure::ResponseTime, 1_240, 812.4, 0.0);
        let told = tell(&Verdict::Act { name: name(), direction: Direction::Up, steps, because }, Some("fast"), 9);
        for tag in [
            "sla",
            "sla:escalate",
            "escalation",
            "escalation:up",
            "deployments:shop",
            "clusters:web",
            "deployment:shop",
            "cluster:web",
            "services:web:1",
        ] {
            assert!(told.event.tags.contains(tag), "{tag}: {:?}", told.event.tags);
        }
        let value = told.event.value.unwrap();
        assert_eq!((&value["numbers"]["value"], &value["numbers"]["requests"]), (&json!(812.4), &json!(1_240)));
        assert_eq!((&value["steps"][0]["to"], &value["sla"]), (&json!("3"), &json!("fast")));
        let told = tell(&Verdict::Blind { name: name(), why: "it rains".to_owned() }, None, 9);
        assert!(!told.event.tags.contains(DECIDED) && told.text.contains("it rains"), "{}", told.text);
    }

    #[test]
    fn numbers_are_as_long_as_people_read() {
        let texts: Vec<String> = [812.4, 99.999, 3.0, 0.256, 0.0].into_iter().map(rounded).collect();
        assert_eq!(texts, ["812", "100", "3", "0.26", "0"]);
        assert_eq!([7, 1_240, 1_234_567].map(grouped), ["7", "1,240", "1,234,567"]);
    }
}
