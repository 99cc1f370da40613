//! The threads that read and write a node's files, for as long as it lives.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, SyncSender, channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use super::aof::Appender;
use super::files::{self, FileWriter};
use super::loading::{LoadError, NodeLink, Plan};
use crate::config::Config;
use crate::engine::{AofPart, Event, LoadPart, LoadReply, SavePart};
use crate::persistence::saving::SaveId;

/// What a node's files are read and written with. Threads end when it is dropped.
#[derive(Debug)]
pub(super) struct Storage {
    writer: FileWriter,
    replies: Option<Sender<LoadReply>>,
    parts: Option<Sender<AofPart>>,
    thread: Option<JoinHandle<()>>,
}

impl Storage {
    /// Begins to load what is planned; what came of it goes to `loaded`. The same thread appends
    /// to the append-only file after that.
    pub(super) fn start(
        config: &Config,
        plan: Plan,
        empty_base: Vec<u8>,
        events: &UnboundedSender<Event>,
        loaded: SyncSender<Result<(), LoadError>>,
    ) -> io::Result<Self> {
        let (replies, replied) = channel();
        let (parts, inbox) = channel();
        let writer = FileWriter::start(config, events.clone())?;
        let base_beside = files::base_beside(&files::path(config));
        let events = events.clone();
        let thread = std::thread::Builder::new()
            .name(format!("aof-{}", config.port))
            .spawn(move || {
                let link = NodeLink {
                    events: &events,
                    replies: &replied,
                };
                let opened = load(plan, base_beside, &empty_base, &link);
                let (outcome, appender) = match opened {
                    Ok(appender) => (Ok(()), Some(appender)),
                    Err(error) => (Err(error), None),
                };
                // Whoever started the node waits for this.
                let _ = loaded.send(outcome);
                if let Some(appender) = appender {
                    appender.run(&inbox);
                }
            })?;
        Ok(Self {
            writer,
            replies: Some(replies),
            parts: Some(parts),
            thread: Some(thread),
        })
    }

    pub(super) fn save(&self, id: SaveId, part: SavePart) {
        self.writer.write(id, part);
    }

    /// Hands over what is to be done with the append-only file. The node bounds what waits.
    pub(super) fn append(&self, part: AofPart) {
        if let Some(parts) = &self.parts {
            // One that could not load its files ends soon.
            let _ = parts.send(part);
        }
    }

    /// What came of the last part that was loaded.
    pub(super) fn loaded(&self, reply: LoadReply) {
        if let Some(replies) = &self.replies {
            // The one who failed does not listen any more.
            let _ = replies.send(reply);
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        drop((self.replies.take(), self.parts.take()));
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported; nothing can be done about it here.
            let _ = thread.join();
        }
    }
}

/// Loads all files, and opens the append-only file if it is on.
fn load(
    plan: Plan,
    base_beside: PathBuf,
    empty_base: &[u8],
    link: &NodeLink<'_>,
) -> Result<Appender, LoadError> {
    plan.load(link)?;
    let (is_aof, sizes) = (plan.is_aof, plan.sizes());
    let mut appender =
        Appender::start(plan.aof, base_beside, link.events.clone()).map_err(LoadError::Append)?;
    if is_aof {
        appender.open(empty_base).map_err(LoadError::Append)?;
    }
    link.ask(LoadPart::End {
        log: is_aof.then_some(sizes),
    })?;
    Ok(appender)
}
