//! One port as the connections of one thread see it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::Seat;
use super::seat::send_off_oldest;
use crate::serving::ListenerId;

/// One port as the connections of one thread see it: in service, then leaving.
#[derive(Debug)]
pub(crate) struct Listener {
    id: ListenerId,
    stage: Cell<Stage>,
    handed_over: Notify,
    open: RefCell<Open>,
    emptied: Notify,
}

/// How far a port is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    InService,
    /// Another process accepts now. Each answer is its connection's last, but a connection that waits for a request
    /// may wait on: closing it could cross the request, and then nobody would answer that.
    HandedOver,
    /// Connections that wait for a request are closed.
    Leaving,
}

/// The connections that are open.
#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, Connected>,
    opened: u64,
}

#[derive(Debug)]
struct Connected {
    seat: Rc<Seat>,
    /// `None` until the task is spawned.
    task: Option<AbortHandle>,
}

/// A connection of a listener, known to it while it is open.
#[derive(Debug)]
pub(super) struct Opened {
    seat: Rc<Seat>,
    number: u64,
}

impl Listener {
    pub(super) fn new(id: ListenerId) -> Rc<Self> {
        Rc::new(Self {
            id,
            stage: Cell::new(Stage::InService),
            handed_over: Notify::new(),
            open: RefCell::default(),
            emptied: Notify::new(),
        })
    }

    /// The port, for [`crate::serving::Serving::entry`].
    pub(crate) fn id(&self) -> ListenerId {
        self.id
    }

    /// Whether the port goes away, or the whole process: the answer under way is the connection's last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage.get() > Stage::InService
    }

    /// Whether a connection that waits for a request after its first is to be closed. One that waits for its first
    /// request was accepted to be answered, and is.
    pub(super) fn closes_idle(&self) -> bool {
        self.stage.get() == Stage::Leaving
    }

    /// Waits until connections are no longer to be accepted here.
    pub(super) async fn ends_accepting(&self) {
        let mut told = pin!(self.handed_over.notified());
        told.as_mut().enable();
        if self.stage.get() < Stage::HandedOver {
            told.await;
        }
    }

    /// Tells the connections to end with the request under way.
    pub(super) fn leave(&self) {
        self.hand_over();
        self.stage.set(Stage::Leaving);
        self.open.borrow().connections.values().for_each(|connected| connected.seat.wake());
    }

    /// Tells the connections to end with the request under way, or with the one that they wait for.
    pub(super) fn hand_over(&self) {
        self.stage.set(self.stage.get().max(Stage::HandedOver));
        self.handed_over.notify_waiters();
    }

    /// Ends all connections where they are.
    pub(super) fn cut(&self) {
        self.leave();
        // A task that is aborted is dropped later, by the runtime, never inside this borrow.
        self.open
            .borrow()
            .connections
            .values()
            .filter_map(|connected| connected.task.as_ref())
            .for_each(AbortHandle::abort);
    }

    /// Whether another process accepts now.
    pub(super) fn is_handed_over(&self) -> bool {
        self.stage.get() == Stage::HandedOver
    }

    /// Waits until no connection is open.
    pub(super) async fn empty(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.open.borrow().connections.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Spawns the life of one connection.
    pub(super) fn spawn<F: Future<Output = ()> + 'static>(self: &Rc<Self>, life: impl FnOnce(Opened) -> F) {
        let seat = Seat::new(Rc::clone(self));
        let number = {
            let mut open = self.open.borrow_mut();
            open.opened += 1;
            let number = open.opened;
            open.connections.insert(number, Connected { seat: Rc::clone(&seat), task: None });
            number
        };
        let task = tokio::task::spawn_local(life(Opened { seat, number }));
        if let Some(connected) = self.open.borrow_mut().connections.get_mut(&number) {
            connected.task = Some(task.abort_handle());
        }
    }

    /// Ends the connections that wait for a request for longest; how many.
    pub(super) fn send_off_oldest(&self, now: Instant) -> usize {
        let open = self.open.borrow();
        send_off_oldest(|| open.connections.values().map(|connected| &connected.seat), now)
    }
}

impl Opened {
    pub(super) fn seat(&self) -> Rc<Seat> {
        Rc::clone(&self.seat)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let listener = self.seat.listener();
        let mut open = listener.open.borrow_mut();
        open.connections.remove(&self.number);
        if open.connections.is_empty() {
            listener.emptied.notify_waiters();
        }
    }
}
