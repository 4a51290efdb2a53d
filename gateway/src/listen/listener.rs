//! One port as the connections of one thread see it.

use std::cell::Cell;
use std::pin::pin;

use tokio::sync::Notify;

use crate::serving::ListenerId;

/// One port as the connections of one thread see it: in service, then leaving, then cut.
#[derive(Debug)]
pub(crate) struct Listener {
    id: ListenerId,
    stage: Cell<Stage>,
    moved_on: Notify,
    connections: Cell<usize>,
    emptied: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Leaving,
    Cut,
}

/// A connection of a listener, counted while it is open.
#[derive(Debug)]
pub(super) struct Counted<'l>(&'l Listener);

impl Listener {
    pub(super) fn new(id: ListenerId) -> Self {
        Self {
            id,
            stage: Cell::new(Stage::Serving),
            moved_on: Notify::new(),
            connections: Cell::new(0),
            emptied: Notify::new(),
        }
    }

    /// The port, for [`crate::serving::Serving::entry`].
    pub(crate) fn id(&self) -> ListenerId {
        self.id
    }

    /// Whether the port goes away, or the whole process: the answer under way is the connection's last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage.get() >= Stage::Leaving
    }

    /// Waits until the port goes away: a connection that waits for its next request then closes.
    pub(crate) async fn leaving(&self) {
        self.reached(Stage::Leaving).await;
    }

    /// Whether the time for leaving is over: what is dropped unfinished from now on ended as `drained`.
    pub(crate) fn is_cut(&self) -> bool {
        self.stage.get() == Stage::Cut
    }

    pub(super) async fn cut(&self) {
        self.reached(Stage::Cut).await;
    }

    pub(super) fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    pub(super) fn cut_off(&self) {
        self.advance(Stage::Cut);
    }

    /// Waits until no connection is open.
    pub(super) async fn empty(&self) {
        loop {
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.connections.get() == 0 {
                return;
            }
            emptied.await;
        }
    }

    pub(super) fn count(&self) -> Counted<'_> {
        self.connections.set(self.connections.get() + 1);
        Counted(self)
    }

    fn advance(&self, stage: Stage) {
        if self.stage.get() < stage {
            self.stage.set(stage);
            self.moved_on.notify_waiters();
        }
    }

    async fn reached(&self, stage: Stage) {
        loop {
            let mut moved_on = pin!(self.moved_on.notified());
            moved_on.as_mut().enable();
            if self.stage.get() >= stage {
                return;
            }
            moved_on.await;
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let connections = self.0.connections.get().saturating_sub(1);
        self.0.connections.set(connections);
        if connections == 0 {
            self.0.emptied.notify_waiters();
        }
    }
}
