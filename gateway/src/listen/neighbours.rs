//! Threads ask each other to close connections that wait for a request: whose turn it is to go is each thread's own
//! knowledge, while the places belong to all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

/// LIMIT: questions that wait for an answer of one thread. Each port of a thread asks for one newcomer at a time; more are
/// passed by.
const ASKING_MAX: usize = 64;

/// LIMIT: how long the answer of one thread is waited for. Accepting waits with it.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(50);

/// How long nobody is asked again after nobody had any: each looks through its connections for the answer, and a crowd
/// of newcomers would have all threads do nothing else.
const NOBODY_FOR: Duration = Duration::from_millis(100);

/// A question: what is sent back is how many connections were told to end.
pub(super) type Question = oneshot::Sender<usize>;

/// The other threads, as one of them knows them.
#[derive(Debug)]
pub(crate) struct Neighbours {
    own: usize,
    all: Arc<All>,
}

#[derive(Debug)]
struct All {
    threads: Vec<mpsc::Sender<Question>>,
    started: Instant,
    nobody_until_ms: AtomicU64,
}

/// One for each thread, with the questions that come to it.
pub(crate) fn neighbours(threads: usize) -> Vec<(Neighbours, mpsc::Receiver<Question>)> {
    let (askers, questions): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(ASKING_MAX)).unzip();
    let all = Arc::new(All { threads: askers, started: Instant::now(), nobody_until_ms: AtomicU64::new(0) });
    questions.into_iter().enumerate().map(|(own, asked)| (Neighbours { own, all: Arc::clone(&all) }, asked)).collect()
}

impl Neighbours {
    /// Asks the other threads, one after the other, until one has told connections to end; how many.
    pub(super) async fn make_room(&self) -> usize {
        let now_ms = || u64::try_from(self.all.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if self.all.threads.len() < 2 || now_ms() < self.all.nobody_until_ms.load(Ordering::Relaxed) {
            return 0;
        }
        let (before, after) = self.all.threads.split_at(self.own);
        for thread in after.iter().skip(1).chain(before) {
            let (question, answer) = oneshot::channel();
            // One that is busy for long hides none behind it.
            if thread.try_send(question).is_ok()
                && let Ok(Ok(told @ 1..)) = tokio::time::timeout(ANSWER_TIMEOUT, answer).await
            {
                return told;
            }
        }
        let for_ms = u64::try_from(NOBODY_FOR.as_millis()).unwrap_or_default();
        self.all.nobody_until_ms.store(now_ms().saturating_add(for_ms), Ordering::Relaxed);
        0
    }
}

/// Answers the questions of other threads by this.
pub(super) async fn answer(mut questions: mpsc::Receiver<Question>, make_room: impl Fn() -> usize) {
    while let Some(question) = questions.recv().await {
        // Who no longer waits has turned its newcomer away.
        if !question.is_closed() {
            question.send(make_room()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_thread_that_has_any_gives_also_behind_a_deaf_one_and_then_nobody_is_asked_for_a_while() {
        let mut threads = neighbours(4).into_iter();
        let (first, _not_asked) = threads.next().unwrap();
        let given = [const { Cell::new(0) }; 2];
        let ((_, one), (_, _deaf), (_, two)) =
            (threads.next().unwrap(), threads.next().unwrap(), threads.next().unwrap());
        let asked = async {
            assert_eq!(first.make_room().await, 3);
            assert_eq!((given[0].get(), given[1].get()), (1, 1), "each was asked once");
            assert_eq!(first.make_room().await, 0, "nobody has any, and one does not answer");
            let looked = (given[0].get(), given[1].get());
            assert_eq!(looked, (2, 2));
            assert_eq!(first.make_room().await, 0);
            assert_eq!((given[0].get(), given[1].get()), looked, "nobody is asked again at once");
        };
        // Once, then nothing.
        let gives_first = |thread: usize, told: usize| {
            let told = [told, 0, 0];
            let asked = &given[thread];
            move || told[asked.replace(asked.get() + 1).min(2)]
        };
        tokio::select! {
            () = asked => {}
            () = answer(one, gives_first(0, 0)) => {}
            () = answer(two, gives_first(1, 3)) => {}
        }
    }
}
