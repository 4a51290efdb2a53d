//! A split over several gateway processes: each keeps its own account exactly, however unevenly requests reach them, and
//! the control plane shows each and the sum, of what it can read and of what it saw last.

use std::net::SocketAddr;

use serde_json::Value;
use vamp_tests::free_port;
use vamp_tests::installation::{Gateway, Installation, PATIENCE};
use vamp_tests::load::{Load, Plan, Report};
use vamp_tests::origin::Origin;

/// Shares in steps of 0.01 %.
const SHARES: [(&str, u64); 3] = [("89.93%", 8_993), ("0.07%", 7), ("10%", 1_000)];

/// Three gateway processes behind one control plane, each on an address of its own.
struct Fleet {
    installation: Installation,
    gateways: Vec<Gateway>,
    origins: Vec<Origin>,
    port: u16,
}

impl Fleet {
    async fn start() -> Self {
        let installation = Installation::start().await;
        let (mut gateways, mut origins) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let (id, address) = (format!("g{number}"), address(number));
            gateways.push(installation.gateway_with(&id, &["--threads", "2", "--bind", &address]).await);
            origins.push(Origin::start(&number.to_string()).await);
        }
        let fleet = Self { installation, gateways, origins, port: free_port() };
        fleet.serve(SHARES.map(|(share, _)| share), "").await;
        fleet
    }

    /// Gives the routes these weights, and each this beside.
    async fn serve(&self, weights: [&str; 3], beside: &str) {
        let route =
            |(origin, weight): (&Origin, &str)| format!("  \"[{}]\": {{weight: {weight}{beside}}}\n", origin.address());
        let routes: String = self.origins.iter().zip(weights).map(route).collect();
        let document = format!("name: shop\nport: {}/http\nroutes:\n{routes}", self.port);
        self.installation.serve("shop", &document).await;
    }

    /// So many requests through one process, each on a connection of its own or all on few.
    async fn send(&self, gateway: usize, requests: u64, own_connections: bool) -> Report {
        let header_lines = if own_connections { "Connection: close\r\n" } else { "" }.to_owned();
        let address: SocketAddr = format!("{}:{}", address(gateway), self.port).parse().unwrap();
        let plan = Plan { connections: 5, requests: Some(requests), header_lines, ..Plan::new(address) };
        let report = Load::start(plan).report().await;
        report.assert_flawless();
        assert_eq!(report.answered, requests);
        report
    }

    /// The split, with the counts of all processes that answer.
    async fn split(&self) -> Value {
        self.installation.split("shop").await
    }

    /// The split, once it says what is waited for.
    async fn split_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        vamp_tests::eventually(PATIENCE, what, async || {
            let split = self.installation.get("gateways/shop/split").await.expect(&[200]);
            holds(&split).then_some(split)
        })
        .await
    }
}

fn address(gateway: usize) -> String {
    format!("127.0.0.{}", gateway + 1)
}

fn processes(split: &Value) -> &[Value] {
    split["processes"].as_array().unwrap()
}

fn process<'split>(split: &'split Value, id: &str, state: &str) -> &'split Value {
    let is_it = |process: &&Value| process["id"] == id && process["state"] == state;
    processes(split).iter().find(is_it).unwrap_or_else(|| panic!("no process {id} that is {state}: {split:#}"))
}

/// What a level or a sum delivered, after a look at whether it adds up and says its error rightly.
#[track_caller]
fn delivered(level: &Value) -> Vec<u64> {
    let routes = level["routes"].as_array().unwrap();
    let delivered: Vec<u64> = routes.iter().map(|route| route["delivered"].as_u64().unwrap()).collect();
    let tickets = delivered.iter().sum::<u64>();
    assert_eq!(level["tickets"], tickets, "{level:#}");
    for ((route, delivered), (wanted, share)) in routes.iter().zip(&delivered).zip(SHARES) {
        assert_eq!(route["wanted"], wanted, "{level:#}");
        let apart = i32::try_from(10_000 * delivered).unwrap() - i32::try_from(tickets * share).unwrap();
        assert_eq!(route["error"], f64::from(apart) / 10_000.0, "{level:#}");
    }
    delivered
}

/// The largest error of a route, in requests.
#[track_caller]
fn error(level: &Value) -> f64 {
    let errors = level["routes"].as_array().unwrap().iter().map(|route| route["error"].as_f64().unwrap().abs());
    errors.fold(0.0, f64::max)
}

/// What the origins answered.
fn answered(reports: &[Report]) -> Vec<u64> {
    let of = |version: usize| reports.iter().map(|report| report.of(&version.to_string())).sum();
    (0..SHARES.len()).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_split_of_a_fleet_is_exact_for_each_process_and_in_sum() {
    let mut fleet = Fleet::start().await;
    let mut reports =
        vec![fleet.send(0, 1_337, false).await, fleet.send(1, 411, true).await, fleet.send(2, 7, false).await];
    reports.push(fleet.send(2, 88, true).await);
    let split = fleet.split().await;
    assert_eq!((&split["counted"], &split["of"]), (&3.into(), &3.into()), "{split:#}");
    assert_eq!(delivered(&split), answered(&reports), "{split:#}");
    for (id, tickets) in [("g0", 1_337), ("g1", 411), ("g2", 95)] {
        let weights = &process(&split, id, "read")["weights"];
        assert_eq!(delivered(weights).iter().sum::<u64>(), tickets, "{split:#}");
        // Below 1 from the first ticket on; each process began at a ticket of its own, which is below 1 once more.
        assert!(error(weights) < 2.0, "{split:#}");
    }
    assert!(error(&split) < 2.0 * 3.0, "{split:#}");

    // One that is frozen keeps its place with what was seen last, and is not counted.
    fleet.gateways[2].freeze();
    reports.push(fleet.send(0, 50, true).await);
    let split = fleet
        .split_where("the two others are counted", |split| (&split["counted"], &split["of"]) == (&2.into(), &3.into()))
        .await;
    assert_eq!(delivered(&split), answered(&reports), "{split:#}");
    let frozen = process(&split, "g2", "unread");
    assert_eq!(delivered(&frozen["weights"]).iter().sum::<u64>(), 95, "{split:#}");
    assert!(frozen["problem"].as_str().is_some_and(|problem| !problem.is_empty()), "{split:#}");

    // One that ends and comes back begins anew; what its last boot was seen to deliver stays in the sum.
    fleet.gateways[2].kill().await;
    fleet.gateways[2].start_again();
    fleet.gateways[2].until_ready().await;
    fleet
        .split_where("the process that came back is counted", |split| {
            split["counted"] == 3 && processes(split).iter().any(|process| process["state"] == "ended")
        })
        .await;
    reports.push(fleet.send(2, 1_000, false).await);
    let split = fleet.split().await;
    assert_eq!(delivered(&split), answered(&reports), "{split:#}");
    assert_eq!(delivered(&process(&split, "g2", "ended")["weights"]).iter().sum::<u64>(), 95, "{split:#}");
    assert_eq!(delivered(&process(&split, "g2", "read")["weights"]).iter().sum::<u64>(), 1_000, "{split:#}");
    assert!(processes(&split).iter().all(|process| process["summed"] == true), "{split:#}");
    assert!(error(&split) < 2.0 * 4.0, "four boots by now: {split:#}");
    // An edit beside the shares goes on with all accounts, and the next one begins all anew.
    fleet.serve(SHARES.map(|(share, _)| share), ", condition: \"User-Agent == Nobody\"").await;
    reports.push(fleet.send(1, 300, false).await);
    let split = fleet.split().await;
    assert_eq!(delivered(&split), answered(&reports), "{split:#}");
    fleet.serve(["50%", "25%", "25%"], "").await;
    let split = fleet.split().await;
    assert_eq!((&split["counted"], &split["tickets"]), (&3.into(), &0.into()), "{split:#}");
    // What the gateways counted is what reached the origins: nothing was sent twice, nothing lost on the way.
    let reached: Vec<u64> = fleet.origins.iter().map(Origin::requests).collect();
    assert_eq!(reached, answered(&reports));
}
