//! The connections that want to be polled, first come, first served. All of a driver's connections
//! are one task of tokio's: a task each would cost every idle connection as much again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use slotway_protocol::engine::Engine;

use crate::abort::AbortOnPanic;
use crate::driver::Driver;

/// Who is ready. Wakers have to be shareable between threads, whence the lock; but tokio calls
/// them on the driver's own thread, so nobody ever waits for it.
#[derive(Default)]
pub(crate) struct ReadyList {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<u32>,
    /// By a connection's index: whether it is in the queue.
    queued: Vec<bool>,
    /// Of the task that polls the connections.
    poller: Option<Waker>,
}

impl ReadyList {
    /// Puts a connection at the end of the queue, if it is not in it.
    #[inline]
    pub(crate) fn push(&self, index: u32) {
        let mut state = self.lock();
        let place = index as usize;
        if place >= state.queued.len() {
            state.queued.resize(place + 1, false);
        }
        if std::mem::replace(&mut state.queued[place], true) {
            return;
        }
        state.queue.push_back(index);
        if state.queue.len() == 1
            && let Some(poller) = &state.poller
        {
            poller.wake_by_ref();
        }
    }

    /// How many are ready.
    fn start_turn(&self, poller: &Waker) -> usize {
        let mut state = self.lock();
        state.poller.get_or_insert_with(|| poller.clone());
        state.queue.len()
    }

    /// Asks for another turn if somebody is ready.
    fn end_turn(&self) {
        if !self.lock().queue.is_empty() {
            self.wake_poller();
        }
    }

    /// The first of the queue; from now on it can be queued again.
    #[inline]
    fn pop(&self) -> Option<u32> {
        let mut state = self.lock();
        let index = state.queue.pop_front()?;
        state.queued[index as usize] = false;
        Some(index)
    }

    /// Wakes the task even where nobody is ready.
    pub(crate) fn wake_poller(&self) {
        if let Some(poller) = &self.lock().poller {
            poller.wake_by_ref();
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's waker.
struct ReadyWaker {
    list: Arc<ReadyList>,
    index: u32,
}

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    #[inline]
    fn wake_by_ref(self: &Arc<Self>) {
        self.list.push(self.index);
    }
}

pub(crate) fn waker(list: &Arc<ReadyList>, index: u32) -> Waker {
    Waker::from(Arc::new(ReadyWaker {
        list: Arc::clone(list),
        index,
    }))
}

/// The task that polls a driver's connections.
pub(crate) struct Poller<E: Engine> {
    driver: Rc<Driver<E>>,
    list: Arc<ReadyList>,
    polls_per_turn: usize,
}

impl<E: Engine> Poller<E> {
    pub(crate) fn new(driver: Rc<Driver<E>>, list: Arc<ReadyList>, polls_per_turn: usize) -> Self {
        Self {
            driver,
            list,
            polls_per_turn: polls_per_turn.max(1),
        }
    }
}

impl<E: Engine + 'static> Future for Poller<E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _abort = AbortOnPanic("connections");
        let ready = self.list.start_turn(cx.waker());
        self.driver.start_turn();
        // Who becomes ready meanwhile waits for the next turn: a connection that always is would
        // keep this one from its end.
        for _ in 0..ready.min(self.polls_per_turn) {
            if let Some(index) = self.list.pop() {
                self.driver.poll_connection(index);
            }
        }
        if self.driver.is_stopped() {
            return Poll::Ready(());
        }
        self.list.end_turn();
        Poll::Pending
    }
}
