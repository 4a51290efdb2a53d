//! Looks at files that users name. They may stand on a file system that does not answer, such as a server's that is gone,
//! and what asks there can't be ended: it is waited for in bounded time, whoever wants to know the same waits for the
//! same look, and there are only so many of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// LIMIT: how long a look is waited for: a healthy file system needs milliseconds, and somebody waits for the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// LIMIT: looks at the same time, with those that nobody waits for any more: each keeps a thread until its file system
/// answers, of the 512 that all blocking work has. Each is at another thing, so that it takes as many programs on silent
/// file systems to hold up the others.
const LOOKS_MAX: usize = 128;

/// The answer of a look, for everybody who waits for it.
type Answer<T> = Shared<oneshot::Receiver<T>>;

/// Looks that are under way, by what they look at.
type UnderWay<K, T> = Mutex<BTreeMap<K, Answer<T>>>;

/// Who may look.
#[derive(Debug)]
pub(super) struct LookUps<K, T> {
    room: Arc<Semaphore>,
    under_way: Arc<UnderWay<K, T>>,
    patience: Duration,
}

/// The place of one look, free again when this is dropped.
struct Place<K: Ord, T> {
    at: K,
    under_way: Arc<UnderWay<K, T>>,
    _room: OwnedSemaphorePermit,
}

impl<K: Ord, T> Drop for Place<K, T> {
    fn drop(&mut self) {
        locked(&self.under_way).remove(&self.at);
    }
}

impl<K, T> LookUps<K, T> {
    /// `patience`: how long a look is waited for.
    pub(super) fn new(patience: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(LOOKS_MAX)), under_way: Arc::default(), patience }
    }
}

impl<K: Ord + Clone + Send + 'static, T: Clone + Send + Sync + 'static> LookUps<K, T> {
    /// Looks at something, or waits for who looks at it already; `None`: there was no answer in time, or no room to ask.
    pub(super) async fn make(&self, at: K, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let deadline = Instant::now() + self.patience;
        let known = locked(&self.under_way).get(&at).cloned();
        let answer = if let Some(answer) = known {
            answer
        } else {
            let room = tokio::time::timeout_at(deadline, Arc::clone(&self.room).acquire_owned()).await.ok()?.ok()?;
            self.begin(at, look, room)
        };
        tokio::time::timeout_at(deadline, answer).await.ok()?.ok()
    }

    /// Begins a look, unless somebody else did meanwhile.
    fn begin(&self, at: K, look: impl FnOnce() -> T + Send + 'static, room: OwnedSemaphorePermit) -> Answer<T> {
        let (answers, answer) = oneshot::channel();
        let answer = answer.shared();
        let mut under_way = locked(&self.under_way);
        if let Some(answer) = under_way.get(&at) {
            return answer.clone();
        }
        under_way.insert(at.clone(), answer.clone());
        // A runtime that ends drops the work at once, and with it the place.
        drop(under_way);
        let place = Place { at, under_way: Arc::clone(&self.under_way), _room: room };
        tokio::task::spawn_blocking(move || {
            let seen = look();
            drop(place);
            // Who was to hear it has given up.
            drop(answers.send(seen));
        });
        answer
    }
}

fn locked<K, T>(under_way: &UnderWay<K, T>) -> MutexGuard<'_, BTreeMap<K, Answer<T>>> {
    under_way.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// For a look that must be answered, on a machine that does other things too.
    const LONG: Duration = Duration::from_secs(20);

    /// Looks that hang until the test lets them go, and tell of each that is begun.
    struct Hanging {
        looks: LookUps<usize, usize>,
        begun: mpsc::Sender<usize>,
        begins: mpsc::Receiver<usize>,
        silence: mpsc::Sender<()>,
        answer: Arc<Mutex<mpsc::Receiver<()>>>,
    }

    impl Hanging {
        fn new() -> Self {
            let (begun, begins) = mpsc::channel();
            let (silence, answer) = mpsc::channel();
            Self { looks: LookUps::new(PATIENCE), begun, begins, silence, answer: Arc::new(Mutex::new(answer)) }
        }

        /// That many have begun, however late their threads are, and no more.
        fn has_begun(&self, count: usize) {
            for _ in 0..count {
                self.begins.recv_timeout(LONG).unwrap();
            }
            assert_eq!(self.begins.try_iter().count(), 0);
        }

        async fn make(&self, at: usize) -> Option<usize> {
            let (begun, answer) = (self.begun.clone(), Arc::clone(&self.answer));
            let look = move || {
                begun.send(at).unwrap();
                assert!(answer.lock().unwrap().recv().is_err());
                at
            };
            self.looks.make(at, look).await
        }

        /// Lets all of them go, and waits until each has left its room.
        async fn end(mut self) -> LookUps<usize, usize> {
            drop(self.silence);
            while self.looks.room.available_permits() < LOOKS_MAX {
                tokio::task::yield_now().await;
            }
            assert!(locked(&self.looks.under_way).is_empty());
            self.looks.patience = LONG;
            self.looks
        }
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_no_more_of_them_are_begun_than_there_is_room_for() {
        let hanging = Hanging::new();
        let answers = futures_util::future::join_all((0..2 * LOOKS_MAX).map(|at| hanging.make(at))).await;
        assert!(answers.iter().all(Option::is_none), "{answers:?}");
        hanging.has_begun(LOOKS_MAX);
        assert_eq!(hanging.looks.make(usize::MAX, || 1).await, None, "all the room is taken");
        // Who was given up leaves its room as soon as its file system answers.
        assert_eq!(hanging.end().await.make(usize::MAX, || 1).await, Some(1));
    }

    #[tokio::test]
    async fn who_looks_at_what_hangs_takes_no_room_of_others() {
        let mut hanging = Hanging::new();
        let ask = async || futures_util::future::join_all((0..2 * LOOKS_MAX).map(|_| hanging.make(0))).await;
        // At once, and again later, as who tries again and again.
        for answers in [ask().await, ask().await] {
            assert!(answers.iter().all(Option::is_none), "{answers:?}");
        }
        // All of them wait for one look.
        hanging.has_begun(1);
        hanging.looks.patience = LONG;
        assert_eq!(hanging.looks.make(1, || 1).await, Some(1));
        assert_eq!(hanging.end().await.make(0, || 7).await, Some(7), "what is over is looked at anew");
    }
}
