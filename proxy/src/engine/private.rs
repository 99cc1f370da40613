//! Connections to nodes that serve one client at a time: for commands that block, and for those
//! that leave something with the connection, as WATCH does. They are kept and used again.

use core::time::Duration;
use std::collections::BTreeMap;

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::Instant;
use slotway_protocol::output::Output;
use slotway_protocol::resp::Protocol;

use super::pipeline::{Link, Pipeline};

/// A connection that is somebody's alone.
#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) pipeline: Pipeline,
    /// What the node calls this connection; known once it has logged in.
    pub(crate) client_id: Option<i64>,
    /// It leads to where an ASK did: all that its user sends goes behind an ASKING.
    pub(crate) asks: bool,
    /// Since when nobody has used it.
    idle_since: Option<Instant>,
    /// When its node was asked to end what blocks it. That may happen at any time from then on, so
    /// nobody else must wait on it.
    pub(crate) left_at: Option<Instant>,
    /// It is ended as soon as it can be.
    doomed: bool,
}

impl Private {
    /// Whom it can serve.
    fn purpose(&self) -> Purpose {
        let pipeline = &self.pipeline;
        Purpose {
            backend: pipeline.backend,
            is_resp3: pipeline.protocol == Protocol::Resp3,
            database: pipeline.database,
        }
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed
    }
}

/// What tells apart connections of which none can do what another does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Purpose {
    backend: usize,
    is_resp3: bool,
    database: u16,
}

/// Names a private connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrivateId {
    pub(crate) index: u32,
    generation: u32,
}

/// All private connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Privates {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Those that nobody uses, by what they are for; the last one was used last.
    idle: BTreeMap<Purpose, Vec<PrivateId>>,
    idle_len: usize,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    private: Option<Private>,
}

impl Privates {
    /// One that nobody uses, if there is any.
    pub(crate) fn take_idle(
        &mut self,
        backend: usize,
        protocol: Protocol,
        database: u16,
    ) -> Option<PrivateId> {
        let purpose = Purpose {
            backend,
            is_resp3: protocol == Protocol::Resp3,
            database,
        };
        let id = self.idle.get_mut(&purpose)?.pop()?;
        self.idle_len -= 1;
        if let Some(private) = self.get(id) {
            private.idle_since = None;
        }
        Some(id)
    }

    pub(crate) fn add(&mut self, pipeline: Pipeline) -> PrivateId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.private = Some(Private {
            pipeline,
            client_id: None,
            asks: false,
            idle_since: None,
            left_at: None,
            doomed: false,
        });
        PrivateId {
            index,
            generation: place.generation,
        }
    }

    pub(crate) fn get(&mut self, id: PrivateId) -> Option<&mut Private> {
        let place = self.places.get_mut(id.index as usize)?;
        let current = place.generation == id.generation;
        place.private.as_mut().filter(|_| current)
    }

    /// What is to be written on an open connection.
    pub(crate) fn output(&mut self, index: u32) -> &mut Output {
        let private = self.places[index as usize].private.as_mut();
        let private = private.expect("an open connection has its place");
        private.pipeline.output()
    }

    /// The one in that place now.
    pub(crate) fn at(&self, index: u32) -> Option<PrivateId> {
        let place = self.places.get(index as usize)?;
        place.private.as_ref()?;
        let generation = place.generation;
        Some(PrivateId { index, generation })
    }

    /// Forgets one that has no connection any more.
    pub(crate) fn remove(&mut self, id: PrivateId) -> Option<Private> {
        self.get(id)?;
        let place = &mut self.places[id.index as usize];
        place.generation = place.generation.wrapping_add(1);
        let private = place.private.take()?;
        self.free.push(id.index);
        if private.idle_since.is_some() {
            self.unlist(private.purpose(), id);
        }
        Some(private)
    }

    /// It is to be ended: nobody gets it any more.
    pub(crate) fn doom(&mut self, id: PrivateId) {
        let Some(private) = self.get(id) else { return };
        private.doomed = true;
        let purpose = private.purpose();
        if private.idle_since.take().is_some() {
            self.unlist(purpose, id);
        }
    }

    fn unlist(&mut self, purpose: Purpose, id: PrivateId) {
        if let Some(idle) = self.idle.get_mut(&purpose) {
            let before = idle.len();
            idle.retain(|known| *known != id);
            self.idle_len -= before - idle.len();
        }
    }

    /// Nobody uses it any more; it is clean.
    pub(crate) fn release(&mut self, id: PrivateId, now: Instant) {
        let Some(private) = self.get(id) else { return };
        private.idle_since = Some(now);
        private.asks = false;
        let key = private.purpose();
        self.idle.entry(key).or_default().push(id);
        self.idle_len += 1;
    }

    /// Those that have been idle since before that time.
    pub(crate) fn idle_before(&self, time: Instant) -> Vec<PrivateId> {
        let is_old = |place: &Place| {
            let private = place.private.as_ref();
            private.is_some_and(|it| it.idle_since.is_some_and(|since| since < time))
        };
        self.ids(is_old)
    }

    /// Those whose user left before that time, and that are not clean yet.
    pub(crate) fn left_before(&self, time: Instant) -> Vec<PrivateId> {
        let is_late = |place: &Place| {
            let private = place.private.as_ref();
            private.is_some_and(|it| it.left_at.is_some_and(|since| since < time))
        };
        self.ids(is_late)
    }

    /// Those whose node has been silent for that long while it owed a reply that takes no waiting.
    pub(crate) fn silent(&self, time: Duration, now: Instant) -> Vec<PrivateId> {
        let is_silent = |place: &Place| {
            place.private.as_ref().is_some_and(|private| {
                let pipeline = &private.pipeline;
                let front = pipeline.front().map(|entry| Command::by_id(entry.command));
                let blocks = front.is_some_and(|command| {
                    command.flags.contains(Flags::BLOCKING) || command.name == "wait"
                });
                let silence = pipeline.silence(now).unwrap_or_default();
                matches!(pipeline.link, Link::Open(_))
                    && !private.doomed
                    && (!blocks || pipeline.is_logging_in())
                    && silence >= time
            })
        };
        self.ids(is_silent)
    }

    /// Those to one of the backends for which this is true.
    pub(crate) fn of_backends(&self, is_one: impl Fn(usize) -> bool) -> Vec<PrivateId> {
        let leads_there = |place: &Place| {
            let private = place.private.as_ref();
            private.is_some_and(|it| is_one(it.pipeline.backend))
        };
        self.ids(leads_there)
    }

    fn ids(&self, is_one: impl Fn(&Place) -> bool) -> Vec<PrivateId> {
        (0..)
            .zip(&self.places)
            .filter(|(_, place)| is_one(place))
            .map(|(index, place)| PrivateId {
                index,
                generation: place.generation,
            })
            .collect()
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        let privates = self
            .places
            .iter()
            .filter_map(|place| place.private.as_ref());
        privates.map(|private| private.pipeline.memory()).sum()
    }

    /// Those of all that there are.
    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        let privates = self
            .places
            .iter()
            .filter_map(|place| place.private.as_ref());
        privates.map(|private| &private.pipeline)
    }

    /// All that there are.
    pub(crate) fn all(&self) -> Vec<PrivateId> {
        self.ids(|place| place.private.is_some())
    }

    /// Nobody uses any of them, or ever will: each is ended as soon as it can be.
    pub(crate) fn start_over(&mut self) {
        self.idle.clear();
        self.idle_len = 0;
        for place in &mut self.places {
            if let Some(private) = &mut place.private {
                private.pipeline.start_over();
                private.idle_since = None;
                private.doomed = true;
            }
        }
        let free = (0..).zip(&self.places);
        let free = free.filter(|(_, place)| place.private.is_none());
        self.free = free.map(|(index, _)| index).collect();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many of them somebody uses.
    pub(crate) fn busy_len(&self) -> usize {
        self.len() - self.idle_len
    }

    /// One of those that nobody uses.
    pub(crate) fn any_idle(&self) -> Option<PrivateId> {
        self.idle.values().find_map(|idle| idle.first().copied())
    }

    /// How many of them nobody uses.
    pub(crate) fn idle_len(&self) -> usize {
        self.idle_len
    }

    /// Checks what must hold between calls.
    pub(crate) fn check_invariants(&self) {
        let mut idle = 0;
        for private in self
            .places
            .iter()
            .filter_map(|place| place.private.as_ref())
        {
            private.pipeline.check_invariants();
            idle += usize::from(private.idle_since.is_some());
            if private.idle_since.is_some() {
                assert_eq!(private.pipeline.in_flight_len(), 0, "idle ones owe nothing");
            }
        }
        assert_eq!(idle, self.idle_len, "idle ones are listed");
        let listed: usize = self.idle.values().map(Vec::len).sum();
        assert_eq!(idle, listed, "idle ones are listed");
    }
}
