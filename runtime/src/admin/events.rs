//! Server-sent events: what is told to all who listen, as it happens. Who does not keep up is let
//! go, and comes again when it can, as browsers do.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// All who listen.
#[derive(Debug)]
pub struct Broadcaster {
    listeners: RefCell<Vec<Sender<Bytes>>>,
    listeners_max: usize,
    let_go: Cell<u64>,
}

/// What one listener is told: first what was given to [`Broadcaster::subscribe`].
#[derive(Debug)]
pub struct Events(Receiver<Bytes>);

impl Broadcaster {
    /// At most so many may listen at a time.
    pub fn new(listeners_max: usize) -> Self {
        Self {
            listeners: RefCell::default(),
            listeners_max,
            let_go: Cell::new(0),
        }
    }

    /// Adds a listener; `None` when there are too many.
    pub fn subscribe(&self, first: Bytes) -> Option<Events> {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| !listener.is_closed());
        if listeners.len() >= self.listeners_max {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        // There is room for the first one.
        let _ = sender.try_send(first);
        listeners.push(sender);
        Some(Events(receiver))
    }

    /// Tells everybody; who has too much waiting is let go.
    pub fn send(&self, event: &Bytes) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|listener| match listener.try_send(event.clone()) {
            Ok(()) => true,
            Err(error) => {
                let is_slow = matches!(error, mpsc::error::TrySendError::Full(_));
                self.let_go.set(self.let_go.get() + u64::from(is_slow));
                false
            }
        });
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        let listeners = self.listeners.borrow();
        listeners.iter().filter(|it| !it.is_closed()).count()
    }

    /// How many were let go because they did not keep up.
    pub fn let_go(&self) -> u64 {
        self.let_go.get()
    }

    /// Ends what everybody is told.
    pub fn end(&self) {
        self.listeners.borrow_mut().clear();
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let event = std::task::ready!(self.0.poll_recv(context));
        Poll::Ready(event.map(|event| Ok(Frame::data(event))))
    }
}

/// An event with that name. `data` is a line.
pub fn event(name: &str, data: &str) -> Bytes {
    debug_assert!(!data.contains('\n'), "data of an event is one line");
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// How many events may wait for one listener.
const WAITING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn next(events: &mut Events) -> Option<Bytes> {
        events.0.try_recv().ok()
    }

    #[test]
    fn everybody_is_told_in_order() {
        let broadcaster = Broadcaster::new(2);
        let mut one = broadcaster.subscribe(event("first", "1")).unwrap();
        broadcaster.send(&event("more", "2"));
        let mut other = broadcaster.subscribe(event("first", "3")).unwrap();
        broadcaster.send(&event("more", "4"));
        let told = |events: &mut Events| {
            let all = std::iter::from_fn(|| next(events));
            all.flat_map(|bytes| bytes.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(
            told(&mut one),
            b"event: first\ndata: 1\n\nevent: more\ndata: 2\n\nevent: more\ndata: 4\n\n"
        );
        assert_eq!(
            told(&mut other),
            b"event: first\ndata: 3\n\nevent: more\ndata: 4\n\n"
        );
    }

    #[test]
    fn there_is_an_end_to_listeners_and_to_what_waits_for_them() {
        let broadcaster = Broadcaster::new(1);
        let mut slow = broadcaster.subscribe(event("first", "")).unwrap();
        assert!(broadcaster.subscribe(event("first", "")).is_none());
        for _ in 0..WAITING_MAX {
            broadcaster.send(&event("more", ""));
        }
        assert_eq!((broadcaster.listeners(), broadcaster.let_go()), (0, 1));
        let told = std::iter::from_fn(|| next(&mut slow)).count();
        assert_eq!(told, WAITING_MAX);
        drop(broadcaster.subscribe(event("first", "")).unwrap());
        broadcaster.subscribe(event("first", "")).unwrap();
    }
}
