//! The tasks of a worker: where they live, what the engine has to know of each, when they are to be
//! woken, and what they have not been told yet.

use core::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bytes::Bytes;
use slotway_protocol::engine::{Address, ConnectionId, Instant};
use slotway_protocol::resp::Protocol;

use super::peers::Answer;
use super::private::PrivateId;
use super::session::Ticket;
use super::task::Task;

/// All tasks of a worker.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    places: Vec<Place>,
    free: Vec<u32>,
    wakes: BinaryHeap<Reverse<(Instant, TaskId)>>,
    /// What has happened and no task has been told yet.
    pub(super) news: VecDeque<(TaskId, News)>,
    /// The task that is being told.
    pub(super) running: Option<TaskId>,
}

#[derive(Debug, Default)]
struct Place {
    generation: u32,
    running: Option<Running>,
}

/// A task with what the engine has to know of it.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) task: Box<dyn Task>,
    /// The place that the reply goes to; none once the client has left.
    pub(super) client: Option<Ticket>,
    pub(super) protocol: Protocol,
    pub(super) lane: usize,
    /// Legs without a reply.
    pub(super) in_flight: usize,
    /// When it wants to be woken.
    pub(super) wake: Option<Instant>,
    /// Connections to nodes that nobody else uses.
    pub(super) privates: Vec<PrivateId>,
    /// Keys that it waits for.
    pub(super) keys: Vec<Bytes>,
    /// Where the next private request goes, behind an ASKING.
    pub(super) ask: Option<Address>,
}

/// What a task can be told.
#[derive(Debug)]
pub(super) enum News {
    Begin,
    Answer(Answer),
    Reply { part: u32, reply: Bytes },
    KeyChanged(Bytes),
    Wake,
}

/// Names a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

impl TaskId {
    #[cfg(test)]
    pub(crate) fn for_test(index: u32) -> Self {
        let generation = 0;
        Self { index, generation }
    }

    /// The ticket of one of its legs: it looks like that of a client where no connection can be.
    pub(super) fn ticket(self, part: u32) -> Ticket {
        Ticket {
            connection: ConnectionId {
                index: NO_CONNECTION,
                generation: self.index,
            },
            sequence: self.generation,
            part,
        }
    }

    /// The task that a ticket belongs to.
    pub(super) fn of(ticket: Ticket) -> Option<Self> {
        (ticket.connection.index == NO_CONNECTION).then_some(Self {
            index: ticket.connection.generation,
            generation: ticket.sequence,
        })
    }
}

impl Tasks {
    pub(super) fn add(&mut self, running: Running) -> TaskId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let place = &mut self.places[index as usize];
        place.running = Some(running);
        TaskId {
            index,
            generation: place.generation,
        }
    }

    pub(super) fn get(&mut self, id: TaskId) -> Option<&mut Running> {
        let place = self.places.get_mut(id.index as usize)?;
        let current = place.generation == id.generation;
        place.running.as_mut().filter(|_| current)
    }

    pub(super) fn has(&self, id: TaskId) -> bool {
        let place = self.places.get(id.index as usize);
        place.is_some_and(|place| place.generation == id.generation && place.running.is_some())
    }

    pub(super) fn remove(&mut self, id: TaskId) -> Option<Running> {
        self.get(id)?;
        let place = &mut self.places[id.index as usize];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        place.running.take()
    }

    /// Wakes the task then, and not at the time named before.
    pub(super) fn wake_at(&mut self, id: TaskId, time: Instant) {
        if let Some(running) = self.get(id) {
            // One that waits again for the same moment is in the heap already.
            if running.wake.replace(time) != Some(time) {
                self.wakes.push(Reverse((time, id)));
            }
        }
    }

    /// A task whose time has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<TaskId> {
        while let Some(Reverse((time, id))) = self.wakes.peek().copied()
            && time <= now
        {
            self.wakes.pop();
            if let Some(running) = self.get(id)
                && running.wake == Some(time)
            {
                running.wake = None;
                return Some(id);
            }
        }
        None
    }

    /// When the next task is to be woken.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((time, _))| *time)
    }

    /// About how many bytes the tasks keep.
    pub(crate) fn memory(&self) -> usize {
        let running = self
            .places
            .iter()
            .filter_map(|place| place.running.as_ref());
        running
            .map(|it| size_of::<Running>() + it.task.memory())
            .sum()
    }

    /// Whether none is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.len() == self.free.len()
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// The place that a task's reply goes to.
    pub(super) fn client_of(&self, id: TaskId) -> Option<Ticket> {
        let place = self.places.get(id.index as usize)?;
        let current = place.generation == id.generation;
        place.running.as_ref().filter(|_| current)?.client
    }

    /// Whether there is something that the task has not been told.
    pub(super) fn has_news(&self, id: TaskId) -> bool {
        self.news.iter().any(|(of, _)| *of == id)
    }

    /// All tasks.
    pub(super) fn all(&self) -> impl Iterator<Item = (TaskId, &Running)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(index, place)| {
            let generation = place.generation;
            Some((TaskId { index, generation }, place.running.as_ref()?))
        })
    }

    /// Forgets all of them. Whatever names one of them still names none.
    pub(super) fn start_over(&mut self) {
        self.free.clear();
        for (index, place) in (0..).zip(&mut self.places) {
            place.running = None;
            place.generation = place.generation.wrapping_add(1);
            self.free.push(index);
        }
        self.wakes.clear();
        self.news.clear();
        self.running = None;
    }

    /// How many of them have a client that waits.
    pub(super) fn with_client(&self) -> usize {
        let running = self
            .places
            .iter()
            .filter_map(|place| place.running.as_ref());
        running.filter(|running| running.client.is_some()).count()
    }
}

/// Where in a ticket the number of a connection is, the tickets of tasks have this.
const NO_CONNECTION: u32 = u32::MAX - 1;
