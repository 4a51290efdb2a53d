//! Looks at files that users name. They may stand on a file system that does not answer, such as a server's that is gone,
//! and what asks there can't be ended: it is waited for in bounded time, and there are only so many of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// LIMIT: how long a look is waited for: a healthy file system needs milliseconds, and somebody waits for the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// LIMIT: looks at the same time, with those that nobody waits for any more: each keeps a thread until its file system
/// answers, of the 512 that all blocking work has.
const LOOKS_MAX: usize = 16;

/// Who may look.
#[derive(Debug)]
pub(super) struct LookUps(Arc<Semaphore>);

impl Default for LookUps {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKS_MAX)))
    }
}

impl LookUps {
    /// Looks; `None`: there was no answer in time, or no room to ask.
    pub(super) async fn make<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let room = tokio::time::timeout_at(deadline, Arc::clone(&self.0).acquire_owned()).await.ok()?.ok()?;
        let looking = tokio::task::spawn_blocking(move || {
            let seen = look();
            drop(room);
            seen
        });
        tokio::time::timeout_at(deadline, looking).await.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_given_up_and_no_more_of_them_are_begun_than_there_is_room_for() {
        let looks = LookUps::default();
        let (begun, begins) = mpsc::channel();
        let (silence, answer) = mpsc::channel::<()>();
        let answer = Arc::new(std::sync::Mutex::new(answer));
        let hanging = (0..2 * LOOKS_MAX).map(|number| {
            let (begun, answer) = (begun.clone(), Arc::clone(&answer));
            looks.make(move || {
                begun.send(number).unwrap();
                // Ends when the test lets go.
                assert!(answer.lock().unwrap().recv().is_err());
            })
        });
        let answers = futures_util::future::join_all(hanging).await;
        assert!(answers.iter().all(Option::is_none), "{answers:?}");
        assert_eq!(begins.try_iter().count(), LOOKS_MAX);
        assert_eq!(looks.make(|| 1).await, None, "all the room is taken");
        drop(silence);
        // Who was given up leaves its room as soon as its file system answers.
        while looks.0.available_permits() < LOOKS_MAX {
            tokio::task::yield_now().await;
        }
        assert_eq!(looks.make(|| 1).await, Some(1));
    }
}
