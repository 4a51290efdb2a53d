//! One client connection as its port sees it: whether it waits for a request, since when, and whom to wake to end that.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::Listener;

/// Connections that wait for a shorter time are not closed to make room: their request is likely to be on its way, and
/// would be lost.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// LIMIT: part of the waiting connections closed at once to make room, the oldest, so that looking for them costs each
/// newcomer little: with 64,000 of them, 32 steps.
const OLDEST_PART: u32 = 32;

/// One client connection as its port sees it.
#[derive(Debug)]
pub(crate) struct Seat {
    listener: Rc<Listener>,
    /// When the connection was opened, or its last answer ended.
    free_since: Cell<Instant>,
    /// Whether it waits for a request of which nothing has come.
    waits: Cell<bool>,
    /// Whether it is to end if it still waits.
    is_wanted: Cell<bool>,
    waker: OnceCell<Waker>,
}

impl Seat {
    pub(super) fn new(listener: Rc<Listener>) -> Rc<Self> {
        Rc::new(Self {
            listener,
            free_since: Cell::new(Instant::now()),
            waits: Cell::new(false),
            is_wanted: Cell::new(false),
            waker: OnceCell::new(),
        })
    }

    /// Its port.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// When the connection was opened, or its last answer ended.
    pub(crate) fn free_since(&self) -> Instant {
        self.free_since.get()
    }

    /// Notes that an answer has ended.
    pub(crate) fn free(&self, now: Instant) {
        self.free_since.set(now);
    }

    /// Notes that nothing of a request has come; tells whether it is to wait on. `has_served`: an answer has ended, so
    /// that the client does not count on the next one. The task is woken when the answer may be another.
    #[inline]
    pub(crate) fn may_wait(&self, context: &Context<'_>, has_served: bool) -> bool {
        self.waits.set(true);
        // A task has one waker all its life.
        self.waker.get_or_init(|| context.waker().clone());
        let is_to_end = self.is_wanted.get() || (has_served && self.listener.closes_idle());
        !is_to_end
    }

    /// Notes that a request has begun to come.
    #[inline]
    pub(crate) fn takes(&self) {
        self.waits.set(false);
        self.is_wanted.set(false);
    }

    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    fn could_go(&self, now: Instant) -> bool {
        self.waits.get() && !self.is_wanted.get() && now.saturating_duration_since(self.free_since.get()) >= IDLE_MIN
    }
}

/// Tells those to end that wait for a request for longest; how many. `seats` gives all of them, each time anew.
pub(super) fn send_off_oldest<'seats, I>(seats: impl Fn() -> I, now: Instant) -> usize
where
    I: Iterator<Item = &'seats Rc<Seat>>,
{
    let waiting = || seats().filter(|seat| seat.could_go(now));
    let Some(oldest) = waiting().map(|seat| seat.free_since()).min() else { return 0 };
    let until = oldest + now.saturating_duration_since(oldest) / OLDEST_PART;
    let most = waiting().count().div_ceil(OLDEST_PART as usize);
    let mut sent_off = 0;
    for seat in waiting().filter(|seat| seat.free_since() <= until).take(most) {
        seat.is_wanted.set(true);
        seat.wake();
        sent_off += 1;
    }
    sent_off
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::ListenerId;

    #[test]
    fn the_oldest_of_those_that_wait_go_and_no_other() {
        let listener = Listener::new(ListenerId(1));
        let now = Instant::now() + Duration::from_mins(10);
        let seats: Vec<_> = (0..100).map(|_| Seat::new(Rc::clone(&listener))).collect();
        for (age, seat) in seats.iter().enumerate() {
            seat.free(now.checked_sub(Duration::from_secs(age as u64)).unwrap());
            seat.may_wait(&Context::from_waker(Waker::noop()), true);
        }
        // The oldest is busy, the next one has begun to be.
        seats[99].waits.set(false);
        seats[98].takes();
        let wanted = || (0..100).filter(|seat| seats[*seat].is_wanted.get()).collect::<Vec<_>>();
        assert_eq!(send_off_oldest(|| seats.iter(), now), 4);
        assert_eq!(wanted(), [94, 95, 96, 97]);
        assert!(!seats[97].may_wait(&Context::from_waker(Waker::noop()), false), "it ends");
        while send_off_oldest(|| seats.iter(), now) > 0 {}
        assert_eq!(wanted(), (1..98).collect::<Vec<_>>(), "all but the youngest, whose request may be on its way");
        seats[50].takes();
        assert!(seats[50].may_wait(&Context::from_waker(Waker::noop()), true), "it served meanwhile, and waits on");
    }
}
