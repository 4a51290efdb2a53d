//! One port as the connections of one thread see it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::serving::ListenerId;

/// One port as the connections of one thread see it: in service, then leaving.
#[derive(Debug)]
pub(crate) struct Listener {
    id: ListenerId,
    stage: Cell<Stage>,
    handed_over: Notify,
    left: Notify,
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
    /// `None` until the task is spawned.
    connections: HashMap<u64, Option<AbortHandle>>,
    opened: u64,
}

/// A connection of a listener, known to it while it is open.
#[derive(Debug)]
pub(super) struct Opened {
    listener: Rc<Listener>,
    number: u64,
}

impl Listener {
    pub(super) fn new(id: ListenerId) -> Rc<Self> {
        Rc::new(Self {
            id,
            stage: Cell::new(Stage::InService),
            handed_over: Notify::new(),
            left: Notify::new(),
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

    /// Whether a connection that waits for a request after its first is to be closed.
    pub(crate) fn closes_idle(&self) -> bool {
        self.stage.get() == Stage::Leaving
    }

    /// Waits until the port goes away: a connection that waits for a request after its first then closes. One that
    /// waits for its first request was accepted to be answered, and is.
    pub(crate) async fn leaving(&self) {
        self.reaches(Stage::Leaving, &self.left).await;
    }

    /// Waits until connections are no longer to be accepted here.
    pub(super) async fn ends_accepting(&self) {
        self.reaches(Stage::HandedOver, &self.handed_over).await;
    }

    async fn reaches(&self, stage: Stage, told: &Notify) {
        let mut told = pin!(told.notified());
        told.as_mut().enable();
        if self.stage.get() < stage {
            told.await;
        }
    }

    /// Tells the connections to end with the request under way.
    pub(super) fn leave(&self) {
        self.hand_over();
        self.stage.set(Stage::Leaving);
        self.left.notify_waiters();
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
        self.open.borrow().connections.values().flatten().for_each(AbortHandle::abort);
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
        let number = {
            let mut open = self.open.borrow_mut();
            open.opened += 1;
            let number = open.opened;
            open.connections.insert(number, None);
            number
        };
        let task = tokio::task::spawn_local(life(Opened { listener: Rc::clone(self), number }));
        if let Some(handle) = self.open.borrow_mut().connections.get_mut(&number) {
            *handle = Some(task.abort_handle());
        }
    }
}

impl Opened {
    pub(super) fn listener(&self) -> Rc<Listener> {
        Rc::clone(&self.listener)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut open = self.listener.open.borrow_mut();
        open.connections.remove(&self.number);
        if open.connections.is_empty() {
            self.listener.emptied.notify_waiters();
        }
    }
}
