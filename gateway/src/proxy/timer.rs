//! One timer per connection, moved lazily: a deadline that is put off costs nothing until the old one has come.

use std::pin::Pin;
use std::task::Context;
use std::time::Instant;

use tokio::time::Sleep;

/// The timer of one connection.
#[derive(Debug)]
pub(crate) struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// When `sleep` ends: at or before the deadline that counts.
    armed_for: Instant,
    /// Whether `sleep` knows whom to wake.
    waits: bool,
}

impl Timer {
    /// A timer that is first looked at before this deadline.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(tokio::time::sleep_until(deadline.into())), armed_for: deadline, waits: false }
    }

    /// Whether the deadline has come; if not, the task is woken then (or earlier, to ask again).
    ///
    /// All calls are of one task: who is to be woken is told once for each time that it is armed.
    #[inline]
    pub(crate) fn is_over(&mut self, context: &mut Context<'_>, deadline: Instant) -> bool {
        if self.waits && deadline >= self.armed_for && !self.sleep.is_elapsed() {
            return false;
        }
        self.look(context, deadline)
    }

    fn look(&mut self, context: &mut Context<'_>, deadline: Instant) -> bool {
        if deadline < self.armed_for {
            self.arm(deadline);
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            if self.armed_for >= deadline {
                return true;
            }
            self.arm(deadline);
        }
        self.waits = true;
        false
    }

    fn arm(&mut self, deadline: Instant) {
        self.sleep.as_mut().reset(deadline.into());
        self.armed_for = deadline;
        self.waits = false;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    async fn is_over(timer: &mut Timer, deadline: Instant) -> bool {
        poll_fn(|context| Poll::Ready(timer.is_over(context, deadline))).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_be_put_off_and_drawn_near() {
        let now = tokio::time::Instant::now().into_std();
        let at = |seconds| now + Duration::from_secs(seconds);
        let mut timer = Timer::new(at(10));
        assert!(!is_over(&mut timer, at(10)).await);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert!(!is_over(&mut timer, at(60)).await, "put off");
        assert!(!is_over(&mut timer, at(12)).await, "drawn near");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(is_over(&mut timer, at(12)).await);
        assert!(!is_over(&mut timer, at(60)).await, "used again");
    }
}
