//! The threads of the program: they end with it, in bounded time.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// LIMIT: how long is waited, when all is done, for work that can't be ended: a look at a file system that does not answer
/// would keep the program, and with it the lock of its folder, until that answers. What must be kept is kept by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Does the work of the program.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    run_with(PATIENCE, work)
}

fn run_with<T>(patience: Duration, work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let _threads = Threads { runtime: Some(runtime), patience };
    Ok(handle.block_on(work))
}

/// Ends them in its time, after a panic too: a runtime that is only dropped waits for all that blocks.
struct Threads {
    runtime: Option<Runtime>,
    patience: Duration,
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(self.patience);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// Time for anything on a machine that does other things too.
    const DEADLINE: Duration = Duration::from_secs(30);

    /// Leaves something behind that ends when the test lets it.
    async fn leave_hanging(answer: mpsc::Receiver<()>) {
        let (begun, begins) = tokio::sync::oneshot::channel();
        tokio::task::spawn_blocking(move || {
            begun.send(()).unwrap();
            assert!(answer.recv().is_err());
        });
        begins.await.unwrap();
    }

    /// What became of work while what it left behind goes on.
    fn left_behind(work: fn() -> u8) -> thread::Result<u8> {
        let (silence, answer) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let hanging = async move {
            leave_hanging(answer).await;
            work()
        };
        thread::spawn(move || {
            let run = || run_with(Duration::from_millis(1), hanging).unwrap();
            ended.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))).unwrap();
        });
        let outcome = end.recv_timeout(DEADLINE).expect("it waits for what hangs");
        drop(silence);
        outcome
    }

    #[test]
    fn what_hangs_keeps_neither_the_end_nor_a_panic() {
        assert_eq!(left_behind(|| 7).unwrap(), 7);
        let panic = left_behind(|| panic!("told")).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"told"));
    }
}
