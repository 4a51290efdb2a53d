//! What was answered is kept: over a `kill -9` at any moment of a write load, and over a database that goes away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use vamp_tests::eventually;
use vamp_tests::installation::{Installation, PATIENCE, Put};

/// LIMIT: writers at once; each has one write under way, so that a kill meets several.
const WRITERS: usize = 4;
/// Names that a writer goes through, again and again: some are made, most replaced.
const NAMES: u64 = 40;
/// Rounds after each of which the chain is verified, and how many there are from one to the next later.
const EACH_VERIFIED: u64 = 30;

/// What a writer knows after a kill.
#[derive(Debug, Default)]
struct Known {
    /// The last number that was answered, by name.
    acknowledged: BTreeMap<String, u64>,
    /// The write that had no answer: it may be kept or not.
    open: Option<(String, u64)>,
}

/// How many rounds: `tests/nightly` asks for 1,000.
fn rounds() -> u64 {
    std::env::var("VAMP_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30)
}

/// Writes until nobody answers.
async fn write(put: Put, writer: usize, first: u64, is_over: Arc<AtomicBool>) -> Known {
    let mut known = Known::default();
    let mut number = first;
    while !is_over.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("w{writer}-{}", number % NAMES);
        let document = format!("condition: path is /{number}\n");
        let Some(answer) = put(format!("conditions/{name}"), document).await else {
            known.open = Some((name, number));
            break;
        };
        answer.expect(&[200, 201]);
        known.acknowledged.insert(name, number);
    }
    known
}

async fn stored(installation: &Installation) -> BTreeMap<String, u64> {
    let list = installation.get("conditions?per_page=1000").await.expect(&[200]);
    let number = |item: &serde_json::Value| {
        let condition = item["condition"].as_str().unwrap();
        condition.rsplit('/').next().unwrap().parse::<u64>().unwrap()
    };
    let items = list.as_array().unwrap().iter();
    items.map(|item| (item["name"].as_str().unwrap().to_owned(), number(item))).collect()
}

/// What is stored must be what was answered last, or the one write that had no answer.
fn check(known: &[Known], stored: &BTreeMap<String, u64>, round: u64) {
    for known in known {
        for (name, number) in &known.acknowledged {
            let open = known.open.as_ref().filter(|(open, _)| open == name).map(|(_, number)| *number);
            let found = stored.get(name).copied();
            assert!(
                found == Some(*number) || (found.is_some() && found == open),
                "round {round}: `{name}` was answered as {number}, open is {open:?}, and {found:?} is stored"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answered_write_is_lost_over_kills_at_any_moment() {
    let mut installation = Installation::start().await;
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..rounds() {
        let is_over = Arc::new(AtomicBool::new(false));
        let first = round * 1_000_000;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(installation.putter(), writer, first, Arc::clone(&is_over))))
            .collect();
        // Any moment: from before the first answer to some hundred writes later.
        let pause = Duration::from_millis(rand::rng().random_range(0..250));
        tokio::time::sleep(pause).await;
        installation.kill_control_plane().await;
        is_over.store(true, Ordering::Relaxed);
        let mut known = Vec::new();
        for writer in writers {
            known.push(writer.await.unwrap());
        }
        installation.restart_control_plane().await;
        let stored = stored(&installation).await;
        check(&known, &stored, round);
        // What no writer of this round touched is as it was.
        let touched = |name: &str| {
            known.iter().any(|known| {
                known.acknowledged.contains_key(name) || known.open.as_ref().is_some_and(|(open, _)| open == name)
            })
        };
        for (name, number) in expected.iter().filter(|(name, _)| !touched(name)) {
            assert_eq!(stored.get(name), Some(number), "round {round}: `{name}`");
        }
        expected = stored;
        // It reads the whole history, which grows with each round.
        if round < EACH_VERIFIED || round % EACH_VERIFIED == 0 || round + 1 == rounds() {
            let audit = installation.get("audit/verify").await.expect(&[200]);
            assert_eq!(audit["sound"], true, "round {round}: {audit:#}");
        }
    }
    assert!(expected.len() > WRITERS, "nothing was written: {expected:?}");
}

/// A real server that the test may end and start again.
struct Server {
    folder: tempfile::TempDir,
    address: String,
}

impl Server {
    async fn start(product: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("vamp-").tempdir().unwrap();
        // The server may run as another user, who must reach its folder.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let address = script(&["start", product], folder.path()).await;
        Self { folder, address }
    }

    async fn act(&self, verb: &str) {
        script(&[verb], self.folder.path()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let stopped =
            std::process::Command::new(script_path()).arg("stop").arg(self.folder.path().join("server")).status();
        assert!(stopped.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

fn script_path() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("components/database")
}

async fn script(words: &[&str], folder: &std::path::Path) -> String {
    let mut command = tokio::process::Command::new(script_path());
    let output =
        command.args(words).arg(folder.join("server")).stderr(std::process::Stdio::inherit()).output().await.unwrap();
    assert!(output.status.success(), "tests/components/database {words:?} failed: see its output above");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Killed and started again, and meanwhile: a clear 503, and no word of what was kept is lost.
async fn a_server_goes_away_and_comes_back(product: &str) {
    let server = Server::start(product).await;
    let mut installation = Installation::start_on(&server.address).await;
    let put = async |number: u64| installation.put("conditions/kept", &format!("condition: path is /{number}\n")).await;
    put(1).await.expect(&[201]);
    server.act("kill").await;
    let refused = put(2).await.expect(&[503]);
    assert_eq!(refused["type"], "urn:vamp:problem:unavailable", "{refused:#}");
    installation.get("conditions").await.expect(&[503]);
    server.act("again").await;
    eventually(PATIENCE, "changes are taken again", async || (put(3).await.status.as_u16() == 200).then_some(())).await;
    assert_eq!(installation.get("conditions/kept").await.expect(&[200])["condition"], "path is /3");
    installation.restart_control_plane().await;
    assert_eq!(installation.get("conditions/kept").await.expect(&[200])["condition"], "path is /3");
    assert_eq!(installation.get("audit/verify").await.expect(&[200])["sound"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_goes_away_and_comes_back_as_real_servers_do() {
    a_server_goes_away_and_comes_back("mariadb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_goes_away_and_comes_back_as_real_servers_do() {
    a_server_goes_away_and_comes_back("postgresql").await;
}
