//! What the outside has to do when settings change: listen elsewhere, write redis.conf anew. It is
//! asked for one thing at a time, and the client who wants it waits.

use std::collections::VecDeque;

use slotway_protocol::engine::{Action, ConnectionId, Now};

use super::{Node, Notice};
use crate::config::{Config, Directive};

/// What the driver is to do. It answers with [`super::Event::Config`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigWork {
    /// Live with these settings from now on, or go on with those from before.
    Apply(Box<Config>),
    /// Write them into the redis.conf, whose `user` lines have these values.
    Rewrite(Box<Config>, Vec<String>),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOutcome {
    /// The whole path of the current directory comes with it, if that was looked at.
    Done(Option<String>),
    /// The directive at fault is empty where it was none.
    Failed {
        directive: &'static str,
        reason: String,
    },
}

/// What is to be done outside, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct Configuring {
    /// The path of the redis.conf; empty without one.
    pub(crate) file: String,
    /// Clients wait, so there are no more than those. The first is under way when `is_running`.
    queue: VecDeque<Pending>,
    is_running: bool,
}

/// One thing to be done.
#[derive(Debug)]
pub(crate) struct Pending {
    /// `None` when nobody can wait, since a transaction runs.
    pub(crate) client: Option<ConnectionId>,
    /// CLIENT REPLY lets it have a reply.
    pub(crate) is_answered: bool,
    pub(crate) wish: Wish,
}

#[derive(Debug)]
pub(crate) enum Wish {
    Rewrite,
    /// The settings were changed already; this is what they were.
    Set(Vec<Changed>),
}

/// A directive that was set, the name it was called by, and the settings with its old value.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) directive: &'static Directive,
    pub(crate) name: &'static str,
    pub(crate) old: std::rc::Rc<Config>,
}

impl Configuring {
    pub(crate) fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }
}

impl Node {
    /// Says that settings come from a file, which CONFIG REWRITE may write.
    pub fn set_config_file(&mut self, path: String) {
        self.state.server.configuring.file = path;
    }

    /// Asks the driver for what is next, unless it is busy.
    #[inline]
    pub(super) fn begin_configuring(&mut self) {
        let configuring = &self.state.server.configuring;
        if !configuring.is_running && !configuring.queue.is_empty() {
            self.ask_to_configure();
        }
    }

    #[cold]
    fn ask_to_configure(&mut self) {
        let server = &mut self.state.server;
        let Some(pending) = server.configuring.queue.front() else {
            return;
        };
        let config = Box::new(server.config.clone());
        let work = match pending.wish {
            Wish::Rewrite => {
                let users = vec![config.default_user()];
                ConfigWork::Rewrite(config, users)
            }
            Wish::Set(_) => ConfigWork::Apply(config),
        };
        server.configuring.is_running = true;
        let notice = Notice::Config(work);
        self.actions.push_back(Action::Notify(notice));
    }

    /// Takes what came of the first in the queue.
    pub(super) fn end_configuring(&mut self, outcome: ConfigOutcome, now: Now) {
        let server = &mut self.state.server;
        if !std::mem::take(&mut server.configuring.is_running) {
            return;
        }
        let Some(pending) = server.configuring.queue.pop_front() else {
            return;
        };
        let reply = match outcome {
            ConfigOutcome::Done(directory) => {
                if let Some(directory) = directory {
                    server.config.dir = directory;
                }
                "+OK\r\n".to_owned()
            }
            ConfigOutcome::Failed { directive, reason } => match pending.wish {
                Wish::Rewrite => format!("-ERR Rewriting config file: {reason}\r\n"),
                Wish::Set(changed) => {
                    let mut name = directive;
                    for changed in changed {
                        changed.directive.copy(&changed.old, &mut server.config);
                        if changed.directive.name == directive {
                            name = changed.name;
                        }
                    }
                    server.config_changed = true;
                    format!(
                        "-ERR CONFIG SET failed (possibly related to argument '{name}') - \
                         {reason}\r\n"
                    )
                }
            },
        };
        if let Some(client) = pending.client {
            self.answer_later(client, pending.is_answered, reply.as_bytes(), now);
        }
        self.begin_configuring();
    }
}
