//! A second implementation of the decision, slow and obvious, straight from the rules; random tables and requests must
//! get the same verdict from both, and from `explain`.

use std::collections::HashMap;

use proptest::prelude::*;
use vamp_routing::wire::{Gateway, Rewrite, Route, Share, Sticky, Target};
use vamp_routing::{CompiledTable, Entry, Explanation, PlainHead};

use super::{Tickets, endpoint, gateway, route, table, words};

/// A condition that this file understands by itself.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Under(&'static str),
    Has(&'static str),
    Not(Box<Self>),
    Both(Box<Self>, Box<Self>),
    Either(Box<Self>, Box<Self>),
}

impl Condition {
    fn text(&self) -> String {
        match self {
            Self::Under(path) => format!("path under {path}"),
            Self::Has(header) => format!("has header {header}"),
            Self::Not(inner) => format!("not ({})", inner.text()),
            Self::Both(left, right) => format!("({}) and ({})", left.text(), right.text()),
            Self::Either(left, right) => format!("({}) or ({})", left.text(), right.text()),
        }
    }

    fn holds(&self, path: &str, headers: &[&str]) -> bool {
        match self {
            Self::Under(parent) => path == *parent || path.starts_with(&format!("{parent}/")),
            Self::Has(header) => headers.contains(header),
            Self::Not(inner) => !inner.holds(path, headers),
            Self::Both(left, right) => left.holds(path, headers) && right.holds(path, headers),
            Self::Either(left, right) => left.holds(path, headers) || right.holds(path, headers),
        }
    }
}

/// A route, with its conditions as this file understands them.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    pub(super) weight: u16,
    pub(super) condition: Option<(Condition, u16)>,
    rewrites: Vec<(&'static str, Condition)>,
    endpoints: u16,
    /// How many gateways further down it leads; 0 to its endpoints.
    link: usize,
}

/// Gateways, each leading to later ones only.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) gateways: Vec<(Sticky, Vec<Sketch>)>,
    pub(super) down: Vec<String>,
    seed: u64,
}

/// What a cookie names: gateway, route, endpoint; what is not there is gone.
pub(super) type Named = (usize, usize, Option<u16>);

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    path: &'static str,
    headers: Vec<&'static str>,
    pub(super) cookies: Vec<Named>,
}

impl Asked {
    pub(super) fn head(&self) -> PlainHead {
        let mut fields: Vec<_> = self.headers.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        for (gateway, route, endpoint) in &self.cookies {
            let instance = endpoint.map(|endpoint| format!(".e-{endpoint}")).unwrap_or_default();
            fields.push(("Cookie".to_owned(), format!("a=b; vamp_g-g{gateway}=r-r{route}{instance}")));
        }
        PlainHead { target: format!("{}?q=1", self.path), fields, ..PlainHead::default() }
    }
}

impl World {
    fn target(&self, gateway: usize, route: &Sketch) -> Option<usize> {
        let to = gateway + route.link;
        (route.link > 0 && to < self.gateways.len()).then_some(to)
    }

    pub(super) fn publish(&self) -> Vec<Gateway> {
        let publish = |(index, (sticky, routes)): (usize, &(Sticky, Vec<Sketch>))| {
            let routes = routes.iter().enumerate().map(|(number, sketch)| self.publish_route(index, number, sketch));
            Gateway { sticky: *sticky, ..gateway(&format!("g{index}"), routes.collect()) }
        };
        self.gateways.iter().enumerate().map(publish).collect()
    }

    fn publish_route(&self, gateway: usize, number: usize, sketch: &Sketch) -> Route {
        let rewrite = |(path, condition): &(&'static str, Condition)| Rewrite {
            path: (*path).to_owned(),
            condition: condition.text(),
        };
        Route {
            condition: sketch.condition.as_ref().map(|(condition, _)| condition.text()),
            condition_strength: Share(sketch.condition.as_ref().map_or(10_000, |(_, strength)| *strength)),
            rewrites: sketch.rewrites.iter().map(rewrite).collect(),
            target: match self.target(gateway, sketch) {
                Some(to) => Target::Gateway(format!("g{to}")),
                None => Target::Endpoints((0..sketch.endpoints).map(endpoint).collect()),
            },
            ..route(&format!("r{number}"), sketch.weight)
        }
    }

    fn ticket(&self, level: &str) -> u64 {
        let fold = |hash: u64, byte: u8| hash.wrapping_mul(31).wrapping_add(u64::from(byte));
        level.bytes().fold(self.seed, fold) % 150
    }

    /// The next ticket of each level: any.
    pub(super) fn levels(&self) -> HashMap<String, u64> {
        let mut names = Vec::new();
        for (index, (_, routes)) in self.gateways.iter().enumerate() {
            names.push(format!("g{index}"));
            names.extend((0..routes.len()).map(|number| format!("g{index}/r{number}")));
        }
        names.into_iter().map(|name| (name.clone(), self.ticket(&name))).collect()
    }
}

/// The decision by the rules.
pub(super) struct Second<'world> {
    world: &'world World,
    asked: &'world Asked,
    path: String,
    /// The next ticket of each level.
    pub(super) next: HashMap<String, u64>,
    /// The levels that gave one, in order.
    pub(super) drawn: Vec<String>,
    /// The side on which each fell.
    pub(super) fell: Vec<usize>,
}

impl<'world> Second<'world> {
    pub(super) fn new(world: &'world World, asked: &'world Asked, next: HashMap<String, u64>) -> Self {
        Self { world, asked, path: asked.path.to_owned(), next, drawn: Vec::new(), fell: Vec::new() }
    }

    fn draw(&mut self, level: String, shares: &[u16]) -> usize {
        let next = self.next.entry(level.clone()).or_default();
        let ticket = *next;
        *next += 1;
        let side = turn(shares, ticket);
        self.drawn.push(level);
        self.fell.push(side);
        side
    }

    pub(super) fn decide(&mut self) -> String {
        let mut at = 0;
        let mut hops = Vec::new();
        loop {
            let Some((route, hop)) = self.hop(at) else { return format!("no weight at g{at}") };
            hops.push(hop);
            let sketch = &self.world.gateways[at].1[route];
            for (template, condition) in &sketch.rewrites {
                if condition.holds(&self.path, &self.asked.headers) {
                    self.path = template.replace("%[path]", &self.path);
                }
            }
            match self.world.target(at, sketch) {
                Some(next) => at = next,
                None => break,
            }
        }
        let rewritten = if self.path == self.asked.path { String::new() } else { format!(", path {}", self.path) };
        hops.join(" → ") + &rewritten
    }

    /// The route taken at a gateway, and the hop in words.
    fn hop(&mut self, at: usize) -> Option<(usize, String)> {
        let (sticky, routes) = &self.world.gateways[at];
        let cookie = self.cookie(at);
        let says = |route: usize, instance: Option<u16>, by: &str, plan: &str| {
            let instance = instance.map(|instance| format!("#{instance}")).unwrap_or_default();
            let plan = if *sticky == Sticky::None { "" } else { plan };
            Some((route, format!("g{at}/r{route}{instance} by {by}{plan}")))
        };
        let has_instances = |route: usize| {
            let leads_on = self.world.target(at, &routes[route]).is_some();
            *sticky == Sticky::Instance && !leads_on && routes[route].endpoints > 0
        };
        let keeps = |route: usize, instance: Option<u16>| {
            if instance.is_none() && has_instances(route) { ", cookie set" } else { ", cookie kept" }
        };
        let matching = routes.iter().position(|route| {
            route.condition.as_ref().is_some_and(|(condition, _)| condition.holds(&self.path, &self.asked.headers))
        });
        if let Some(number) = matching {
            match (routes[number].condition.as_ref()?.1, cookie) {
                (0, _) => {}
                (10_000, Some((named, instance))) if named == number && *sticky == Sticky::Instance => {
                    return says(number, instance, "condition", keeps(number, instance));
                }
                (10_000, Some((named, _))) if routes[named].weight > 0 => return says(number, None, "condition", ""),
                (10_000, _) => {
                    let plan = match sticky {
                        Sticky::Instance if has_instances(number) => ", cookie set",
                        Sticky::Instance => ", cookie kept",
                        _ => "",
                    };
                    return says(number, None, "condition", plan);
                }
                (_, Some((named, instance))) if named == number => {
                    return says(number, instance, "cookie", keeps(number, instance));
                }
                (_, Some(_)) => {}
                (strength, None) => {
                    if self.draw(format!("g{at}/r{number}"), &[strength, 10_000 - strength]) == 0 {
                        return says(number, None, "condition", ", cookie set");
                    }
                }
            }
        }
        if let Some((named, instance)) = cookie
            && routes[named].weight > 0
        {
            return says(named, instance, "cookie", keeps(named, instance));
        }
        let weights: Vec<u16> = routes.iter().map(|route| route.weight).collect();
        match weights.iter().filter(|weight| **weight > 0).count() {
            0 => None,
            1 => says(weights.iter().position(|weight| *weight > 0)?, None, "only_route", ", cookie set"),
            _ => {
                let route = self.draw(format!("g{at}"), &weights);
                says(route, None, "weight", ", cookie set")
            }
        }
    }

    /// Route and endpoint of the first cookie that names a route that is up.
    fn cookie(&self, at: usize) -> Option<(usize, Option<u16>)> {
        let (sticky, routes) = &self.world.gateways[at];
        let is_down = |place: String| self.world.down.contains(&place);
        let named = |(gateway, route, instance): &(usize, usize, Option<u16>)| {
            let sketch = routes.get(*route).filter(|_| *gateway == at && *sticky != Sticky::None)?;
            let leads_on = self.world.target(at, sketch).is_some();
            if is_down(format!("g{at}/r{route}")) || !leads_on && sketch.endpoints == 0 {
                return None;
            }
            let is_live = |endpoint: &u16| {
                !leads_on && *endpoint < sketch.endpoints && !is_down(format!("g{at}/r{route}/{endpoint}"))
            };
            Some((*route, instance.filter(|endpoint| *sticky == Sticky::Instance && is_live(endpoint))))
        };
        self.asked.cookies.iter().find_map(named)
    }
}

/// Tijdeman's rule from the first ticket on, as decisions state it, in whole numbers.
fn turn(weights: &[u16], ticket: u64) -> usize {
    let whole = 10_000_i128;
    let weights: Vec<i128> = weights.iter().copied().map(i128::from).collect();
    let slack = 2 * weights.iter().filter(|weight| **weight > 0).count() as i128 - 2;
    let mut had = vec![0_i128; weights.len()];
    let mut next = 0;
    for n in 1..=i128::from(ticket) + 1 {
        let owed = |route: usize| weights[route] * n - had[route] * whole;
        let may = |route: &usize| weights[*route] > 0 && owed(*route) * slack >= whole;
        let product: i128 = 10_000_i128.pow(3);
        // (1 - 1/slack - owed) / share, times all denominators.
        let deadline = |route: &usize| (whole * (slack - 1) - owed(*route) * slack) * product / weights[*route];
        next = (0..weights.len()).filter(may).min_by_key(deadline).expect("one may go");
        had[next] += 1;
    }
    next
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        Just(Condition::Under("/a")),
        Just(Condition::Under("/a/b")),
        Just(Condition::Has("x-one")),
        Just(Condition::Has("x-two")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(inner.into())),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| Condition::Both(left.into(), right.into())),
            (inner.clone(), inner).prop_map(|(left, right)| Condition::Either(left.into(), right.into())),
        ]
    })
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let strength = prop_oneof![Just(0_u16), Just(1_000), Just(3_333), Just(10_000), Just(10_000)];
    let rewrite = prop_oneof![Just("/a%[path]"), Just("/"), Just("%[path]/b"), Just("%[path]")];
    (
        proptest::option::of((condition(), strength)),
        proptest::collection::vec((rewrite, condition()), 0..3),
        0..3_u16,
        prop_oneof![3 => Just(0_usize), 1 => 1..3_usize],
    )
        .prop_map(|(condition, rewrites, endpoints, link)| Sketch {
            weight: 0,
            condition,
            rewrites,
            endpoints,
            link,
        })
}

/// Routes whose weights add up to all, or to nothing.
fn routes() -> impl Strategy<Value = Vec<Sketch>> {
    let parts = proptest::collection::vec(prop_oneof![Just(0_u16), 1..5_u16], 1..5);
    (proptest::collection::vec(sketch(), 1..5), parts).prop_map(|(mut routes, parts)| {
        let parts: Vec<u16> = parts.into_iter().cycle().take(routes.len()).collect();
        let sum = parts.iter().sum::<u16>().max(1);
        for (route, part) in routes.iter_mut().zip(&parts) {
            route.weight = part * (10_000 / sum);
        }
        let given: u16 = routes.iter().map(|route| route.weight).sum();
        if let Some(first) = routes.iter_mut().find(|route| route.weight > 0) {
            first.weight += 10_000 - given;
        }
        routes
    })
}

pub(super) fn asked() -> impl Strategy<Value = Asked> {
    (
        prop_oneof![Just("/"), Just("/a"), Just("/a/b"), Just("/ab")],
        proptest::sample::subsequence(vec!["x-one", "x-two"], 0..=2),
        proptest::collection::vec((0..3_usize, 0..5_usize, proptest::option::of(0..3_u16)), 0..4),
    )
        .prop_map(|(path, headers, cookies)| Asked { path, headers, cookies })
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let sticky = prop_oneof![Just(Sticky::None), Just(Sticky::Route), Just(Sticky::Instance)];
    let down = prop_oneof![Just("g0/r0"), Just("g0/r1"), Just("g0/r0/0"), Just("g1/r0"), Just("g0/r1/1")];
    (
        proptest::collection::vec((sticky, routes()), 1..4),
        proptest::collection::vec(down.prop_map(str::to_owned), 0..2),
        any::<u64>(),
    )
        .prop_map(|(gateways, down, seed)| World { gateways, down, seed })
}

/// What `explain` says beside its rules, from the verdict.
fn check_explanation(explanation: &Explanation, verdict: &str) -> Result<(), TestCaseError> {
    if let Some(path) = &explanation.rewritten_path {
        prop_assert!(verdict.ends_with(&format!(", path {path}")), "{verdict}: {explanation:?}");
    }
    match &explanation.route {
        Some(route) => {
            let last = verdict.rsplit(" → ").next().unwrap_or_default();
            let gateway = explanation.chain.last().cloned().unwrap_or_default();
            prop_assert!(last.starts_with(&format!("{gateway}/{route}")), "{verdict}: {explanation:?}");
            prop_assert!(last.contains(&format!("by {}", explanation.decided_by)), "{verdict}: {explanation:?}");
            prop_assert_eq!(explanation.chain.len(), verdict.split(" → ").count());
        }
        None => prop_assert!(verdict.starts_with("no weight"), "{verdict}: {explanation:?}"),
    }
    Ok(())
}

proptest! {
    #[test]
    fn both_implementations_and_explain_say_the_same(world in world(), asked in asked()) {
        let compiled = CompiledTable::compile(&table(world.publish()), None).unwrap();
        let head = asked.head();
        let mut tickets = Tickets { next: world.levels(), down: world.down.clone(), ..Tickets::new(&compiled) };
        tickets.takes = false;
        let explanation = compiled.explain(Entry::Gateway(0), &head, &mut tickets);
        let asked_by_explain = std::mem::take(&mut tickets.asked);
        let verdict = words::verdict(&compiled, &compiled.route(Entry::Gateway(0), &head, &mut tickets));
        let mut second = Second::new(&world, &asked, world.levels());
        prop_assert_eq!(&verdict, &second.decide());
        prop_assert_eq!(&tickets.asked, &second.drawn);
        prop_assert_eq!(&asked_by_explain, &second.drawn);
        check_explanation(&explanation, &verdict)?;
    }

    #[test]
    fn the_shares_of_explain_are_what_tickets_give(world in world(), asked in asked()) {
        let mut world = world;
        // Ten tenths: every split repeats within ten tickets, so that a hundred pairs of tickets see everything.
        for (_, routes) in &mut world.gateways {
            let count = u16::try_from(routes.len()).unwrap();
            for (number, route) in (0..count).zip(routes.iter_mut()) {
                route.weight = if number == 0 { 10_000 - 2_000 * (count - 1) } else { 2_000 };
                route.link = 0;
                if let Some((_, strength)) = &mut route.condition {
                    *strength -= *strength % 1_000;
                }
            }
        }
        let compiled = CompiledTable::compile(&table(world.publish()), None).unwrap();
        let head = asked.head();
        let mut tickets = Tickets { down: world.down.clone(), ..Tickets::new(&compiled) };
        tickets.takes = false;
        let shares = compiled.explain(Entry::Gateway(0), &head, &mut tickets).shares;
        let mut taken = vec![0.0; shares.len()];
        for strength in 0..10 {
            for weights in 0..10 {
                let levels = compiled.gateways()[0].routes.iter().map(|route| (format!("g0/{}", route.wire.name), strength));
                tickets.next = levels.chain([("g0".to_owned(), weights)]).collect();
                let decision = compiled.route(Entry::Gateway(0), &head, &mut tickets).unwrap();
                taken[decision.chain.last().route] += 1.0;
            }
        }
        for ((route, share), taken) in shares.iter().zip(&taken) {
            prop_assert!((share - taken).abs() < 1e-9, "{route}: {shares:?}, taken {taken:?}");
        }
    }
}
