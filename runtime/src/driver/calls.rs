//! Calls into the engine. Each of them may panic: that ends the connection that it was about, or
//! else the process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use slotway_protocol::engine::{CloseWhen, Engine, Interrupted, Now};

use super::Driver;
use crate::abort::abort;

impl<E: Engine + 'static> Driver<E> {
    /// One call into the engine, and all that it wishes after it.
    #[inline]
    pub(crate) fn call(self: &Rc<Self>, about: Interrupted, call: impl FnOnce(&mut E, Now)) {
        if self.stopped.get() {
            return;
        }
        self.enter(about, self.clock.now(), call);
        self.drain();
    }

    /// The same with the time of the last call in this turn: for what need not be told the time to
    /// the microsecond, reading the clock would cost more than all else.
    #[inline]
    pub(crate) fn call_within_turn(
        self: &Rc<Self>,
        about: Interrupted,
        call: impl FnOnce(&mut E, Now),
    ) {
        if self.stopped.get() {
            return;
        }
        self.enter(about, self.clock.recent(), call);
        self.drain();
    }

    /// One call into the engine, which may panic.
    #[inline]
    pub(super) fn enter(&self, about: Interrupted, now: Now, call: impl FnOnce(&mut E, Now)) {
        let enter = || call(&mut self.engine.borrow_mut(), now);
        // What the call was about is given up, whatever state it is in.
        if catch_unwind(AssertUnwindSafe(enter)).is_err() {
            self.recover(about, now);
        }
    }

    /// A call has panicked.
    #[cold]
    fn recover(&self, about: Interrupted, now: Now) {
        let recover = || self.engine.borrow_mut().recover(about, now);
        if !catch_unwind(AssertUnwindSafe(recover)).unwrap_or_default() {
            abort("engine");
        }
        if about == Interrupted::Other {
            // There is no connection to close: what comes with each timeout would go on for ever.
            let is_soon = |last| now.instant.since(last) < BLAMELESS_INTERVAL;
            if self
                .blameless
                .replace(Some(now.instant))
                .is_some_and(is_soon)
            {
                abort("timer or event");
            }
        }
        if let Interrupted::Connection(connection) = about {
            self.close(connection, CloseWhen::Now);
        }
    }
}

/// A second panic within this time that no connection is to blame for ends the process.
const BLAMELESS_INTERVAL: Duration = Duration::from_secs(10);
