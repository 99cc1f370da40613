//! What may stand against a command for now: the node follows another, has too few replicas, is
//! loading, or lets writes wait.

use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::Now;

use super::State;
use super::execute::Refused;
use super::session::Kind;
use crate::cluster;
use crate::command::CommandError;
use crate::replication::pause::Paused;

impl State {
    /// Whether a client's command may run; in the server's order. Only to be asked when there is a
    /// guard.
    #[cold]
    pub(super) fn check_guards(
        &self,
        client: usize,
        command: &Command,
        now: Now,
    ) -> Result<(), Refused> {
        let replication = &self.server.replication;
        let is_write = self.writes(client, command);
        let follows = replication.primary().is_some();
        let settings = &replication.settings;
        let refuse = |text: &'static str| Err(Refused::from(CommandError::text(text)));
        if replication.refuses() && (is_write || cluster::has_keys(command)) {
            return refuse("CLUSTERDOWN The cluster is down");
        }
        let wants_replicas = !follows && !settings.lag_max.is_zero();
        if is_write && wants_replicas && replication.good_replicas < settings.replicas_min {
            let is_spared = command.name == "restore-asking" || self.is_keyless_here(command);
            if !is_spared {
                return refuse("NOREPLICAS Not enough good replicas to write.");
            }
        }
        if is_write && follows && settings.is_read_only {
            return refuse("READONLY You can't write against a read only replica.");
        }
        let is_stale = follows && !replication.is_up() && !settings.serves_stale_data;
        if is_stale && !command.flags.contains(Flags::STALE) {
            return refuse(
                "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            );
        }
        // Keys of its own are shown until those of the primary are complete. Where there are none,
        // the primary has what is asked for.
        if replication.is_loading()
            && self.keyspace.len() == 0
            && cluster::has_keys(command)
            && !command.flags.contains(Flags::LOADING)
        {
            return refuse("LOADING Redis is loading the dataset in memory");
        }
        let waits = match replication.paused(now.instant) {
            None => false,
            Some(Paused::Writes) => is_write || self.publishes(client, command),
            Some(Paused::All) => true,
        };
        if waits && self.sessions[client].kind != Kind::Replica {
            return Err(Refused::Held);
        }
        Ok(())
    }

    /// Whether it is for more than this node without being a write, as messages are and scripts
    /// may be.
    fn publishes(&self, client: usize, command: &Command) -> bool {
        let is_message = |command: &Command| {
            let name = command.name;
            matches!(name, "publish" | "spublish" | "eval" | "evalsha" | "fcall")
        };
        is_message(command) || self.is_exec_of(client, command, is_message)
    }

    /// Whether it writes, or is the end of a transaction that does.
    pub(super) fn writes(&self, client: usize, command: &Command) -> bool {
        let is_write = |command: &Command| command.flags.contains(Flags::WRITE);
        is_write(command) || self.is_exec_of(client, command, is_write)
    }

    /// Whether it is the end of a transaction with such a command.
    fn is_exec_of(&self, client: usize, command: &Command, wanted: fn(&Command) -> bool) -> bool {
        let queue = self.sessions[client].transaction.queue.as_ref();
        self.dispatch.is_exec(command)
            && queue.is_some_and(|queue| queue.iter().any(|queued| wanted(queued.command)))
    }

    /// A command without keys on a node of a cluster that owns no slots, as those that get a new
    /// node ready. No application has anything to lose there.
    fn is_keyless_here(&self, command: &Command) -> bool {
        let cluster = self.server.cluster.as_ref();
        cluster.is_some_and(|known| {
            !cluster::has_keys(command) && known.view().ranges(known.me()).is_empty()
        })
    }
}

/// In the words of redis-server, since clients show them to those who can do something about it.
pub(super) const PROTECTED: &[u8] =
    b"-DENIED Redis is running in protected mode because protected mode is \
    enabled and no password is set for the default user. In this mode connections are only \
    accepted from the loopback interface. If you want to connect from external computers to Redis \
    you may adopt one of the following solutions: 1) Just disable protected mode sending the \
    command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from \
    the same host the server is running, however MAKE SURE Redis is not publicly accessible from \
    internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you \
    can just disable the protected mode by editing the Redis configuration file, and setting the \
    protected mode option to 'no', and then restarting the server. 3) If you started the server \
    manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an \
    authentication password for the default user. NOTE: You only need to do one of the above \
    things in order for the server to start accepting connections from the outside.\r\n";
