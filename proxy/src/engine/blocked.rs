//! Which way a command that waits takes: on a connection of the client's own when its keys are in
//! one slot, or by trying again whenever a node says that a key has changed.

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::command::Command;
use slotway_protocol::command::keys::each_key;

use super::blocking::Blocking;
use super::plan::{SlotError, common_slot};
use super::popping::Popping;
use super::reading::Reading;
use super::replicas::WaitForReplicas;
use super::requests::Incoming;
use super::task::Task;
use super::wait_time::may_wait;
use super::{Proxy, answer};

impl Proxy {
    /// Serves a command that may wait.
    pub(super) fn run_blocking(&mut self, incoming: &Incoming<'_>, command: &'static Command) {
        let slot = common_slot(command, &incoming.request);
        let waits = may_wait(command, &incoming.request);
        let task: Box<dyn Task> = match slot {
            Err(SlotError::Crossed) => match self.shared_wait(incoming, command) {
                Some(Ok(task)) => task,
                Some(Err(reply)) => return self.answer_at_once(incoming, command.id, &reply),
                None => {
                    let reply = answer::error(answer::CROSS_SLOT);
                    return self.answer_at_once(incoming, command.id, &reply);
                }
            },
            _ if !waits => return self.forward_keys(incoming, command),
            _ if command.key_specs.is_empty() => {
                let frame = incoming.request.frame();
                Box::new(WaitForReplicas::new(command.id, frame))
            }
            // Every node can say what is wrong with a request whose keys can't be told.
            Ok(None) | Err(SlotError::Keys(_)) => self.own_wait(incoming, command, Slot::of(b"")),
            Ok(Some(slot)) if self.privates.busy_len() < self.options.private_connections_max => {
                self.own_wait(incoming, command, slot)
            }
            Ok(Some(slot)) => match self.shared_wait(incoming, command) {
                Some(Ok(task)) => {
                    self.stats.privates_refused.inc();
                    task
                }
                Some(Err(reply)) => return self.answer_at_once(incoming, command.id, &reply),
                None => self.own_wait(incoming, command, slot),
            },
        };
        self.begin_task(incoming, command.id, task, None);
        if waits {
            self.block(incoming.connection);
        }
    }

    fn own_wait(
        &self,
        incoming: &Incoming<'_>,
        command: &'static Command,
        slot: Slot,
    ) -> Box<dyn Task> {
        let patience = self.options.hold_timeout;
        let request = &incoming.request;
        Box::new(Blocking::new(
            command.name,
            command.id,
            slot,
            request,
            patience,
        ))
    }

    /// The same without a connection of its own, or why the request is refused; `None` when the
    /// command can't be served like that, because it has to happen on one node at once.
    fn shared_wait(
        &self,
        incoming: &Incoming<'_>,
        command: &'static Command,
    ) -> Option<Result<Box<dyn Task>, Vec<u8>>> {
        let request = &incoming.request;
        if let Some(reading) = Reading::new(command.name, command.id, request) {
            return Some(reading.map(|task| Box::new(task) as Box<dyn Task>));
        }
        let mut keys = Vec::new();
        let visit = &mut |position| keys.push(Bytes::copy_from_slice(request.arg(position)));
        each_key(command, request, visit).ok()?;
        let moves = matches!(command.name, "blmove" | "brpoplpush");
        if moves {
            let slots = keys.iter().map(|key| Slot::of(key));
            let same = slots.clone().min() == slots.max();
            if !same {
                return None;
            }
            // It is the source that it waits for.
            keys.truncate(1);
        }
        let popping = Popping::new(command.name, request, keys, incoming.now)?;
        Some(popping.map(|task| Box::new(task) as Box<dyn Task>))
    }
}
