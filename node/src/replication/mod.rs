//! What a node knows of whom it follows and who follows it, and how far each has come.

mod backlog;
pub(crate) mod pause;
pub(crate) mod propagation;
pub(crate) mod replica;
mod roles;
pub(crate) mod settings;
pub(crate) mod transfer;
pub(crate) mod upstream;
pub(crate) mod waiting;

use core::time::Duration;

use slotway_protocol::engine::{Address, ConnectToken, ConnectionId, Instant, Now};

use crate::command::Random;
use crate::config::Config;
use crate::server_state::hexadecimal_id;
use backlog::Backlog;
use pause::Pauses;
use replica::Replica;
use settings::Settings;
use upstream::Step;
use waiting::Waiting;

/// A node's place among those that hold the same keys. The stream of writes has an id, and every
/// byte of it a number; who knows both can go on where it was.
#[derive(Debug)]
pub(crate) struct Replication {
    pub(crate) settings: Settings,
    /// Forty hexadecimal digits.
    id: String,
    /// A primary: how many bytes it has produced. A replica: how many it has processed.
    offset: u64,
    /// The id that the stream had before a restart, as long as nothing was produced since.
    restored_id: Option<String>,
    /// Another id that the stream had, up to the byte of that number.
    second: Option<(String, u64)>,
    pub(crate) backlog: Option<Backlog>,
    /// Since when there are no replicas.
    pub(crate) deserted_at: Instant,
    pub(crate) replicas: Vec<Replica>,
    /// Those that have acknowledged something lately.
    pub(crate) good_replicas: u32,
    primary: Option<Address>,
    pub(crate) link: Link,
    /// When the link went down; of no meaning while it is up.
    pub(crate) down_since: Instant,
    pub(crate) last_io: Instant,
    pub(crate) link_was_reset: bool,
    /// The database that what comes next from the primary is for.
    pub(crate) stream_database: u32,
    /// The keys are not those that the id and the offset stand for.
    pub(crate) is_astray: bool,
    /// Keys of the primary are being loaded; and whether they only take the place of older ones of
    /// the same stream.
    loading: Option<bool>,
    /// How many bytes of them have come and how many are to come, if that is known.
    pub(crate) transfer_bytes: (u64, Option<u64>),
    /// All keys are others than before; for who writes them to a file.
    pub(crate) reloaded: bool,
    pauses: Pauses,
    /// What becomes of them as the node is about to end.
    hold: Hold,
    /// Whom this node follows has changed, and connections are to be closed for that.
    pub(crate) turned: bool,
    /// A replica has asked for keys, and is to be answered once all that was produced is handed
    /// over.
    pub(crate) is_asked: bool,
    /// The primary wants to know how far this node is.
    pub(crate) ack_wished: bool,
    /// Clients that wait for replicas.
    pub(crate) waiting: Waiting,
    /// Anything may stand against a request; false for almost all of them.
    guarded: bool,
    pub(crate) counts: Counts,
    /// For new ids.
    random: Random,
}

/// What becomes of clients' requests as the node is about to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Nothing, since it is not.
    No,
    /// Writes wait.
    Writes,
    /// All that is about keys is refused.
    Refuses,
}

/// What INFO counts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) full: u64,
    pub(crate) partial: u64,
    pub(crate) partial_refused: u64,
}

/// The connection to the primary, in more detail than others need.
#[derive(Debug)]
pub(crate) enum Link {
    /// There is none, or it is to be tried again then.
    None {
        retry_at: Option<Instant>,
    },
    Connecting(ConnectToken),
    Talking(ConnectionId, Step),
    /// The keys are on their way.
    Receiving(ConnectionId),
    Up(ConnectionId),
}

impl Link {
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::None { .. } | Self::Connecting(_) => None,
            Self::Talking(connection, _) | Self::Receiving(connection) | Self::Up(connection) => {
                Some(*connection)
            }
        }
    }
}

/// How a replica's connection to its primary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkState {
    Down {
        since: Instant,
    },
    Connecting,
    /// The keys are on their way.
    Syncing,
    Up,
}

/// One that follows this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaInfo {
    pub(crate) address: Address,
    /// What it has acknowledged.
    pub(crate) acked: u64,
    /// It has the keys and gets the stream.
    pub(crate) online: bool,
}

impl Replication {
    pub(crate) fn new(config: &Config, random: &mut Random, started: Now) -> Self {
        let mut random = Random::new(random.next());
        let mut replication = Self {
            settings: Settings::of(config),
            id: hexadecimal_id(&mut random),
            offset: 0,
            second: None,
            backlog: None,
            deserted_at: started.instant,
            replicas: Vec::new(),
            good_replicas: 0,
            primary: None,
            link: Link::None { retry_at: None },
            down_since: started.instant,
            last_io: started.instant,
            link_was_reset: false,
            stream_database: 0,
            is_astray: false,
            loading: None,
            transfer_bytes: (0, None),
            reloaded: false,
            restored_id: None,
            pauses: Pauses::default(),
            hold: Hold::No,
            turned: false,
            is_asked: false,
            ack_wished: false,
            waiting: Waiting::default(),
            guarded: false,
            counts: Counts::default(),
            random,
        };
        // CONFIG REWRITE writes whom this node follows, and so it does after the next start.
        replication.follow(config.replicaof.clone(), started);
        replication.update_guard();
        replication
    }

    /// The id of the stream.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Another id that the stream had, and the number of the first byte that it did not have then.
    pub(crate) fn second(&self) -> Option<(&str, u64)> {
        self.second.as_ref().map(|(id, next)| (id.as_str(), *next))
    }

    /// A primary: how many bytes it has produced. A replica: how many it has processed.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What others are told of it: a replica has none while all keys come anew.
    pub(crate) fn told_offset(&self) -> u64 {
        match self.link {
            Link::Receiving(_) => 0,
            _ => self.offset,
        }
    }

    /// Whom this node follows.
    pub(crate) fn primary(&self) -> Option<&Address> {
        self.primary.as_ref()
    }

    pub(crate) fn link(&self) -> LinkState {
        match self.link {
            Link::None { .. } => LinkState::Down {
                since: self.down_since,
            },
            Link::Connecting(_) | Link::Talking(..) => LinkState::Connecting,
            Link::Receiving(_) => LinkState::Syncing,
            Link::Up(_) => LinkState::Up,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// When anything came from the primary last.
    pub(crate) fn last_io(&self) -> Instant {
        self.last_io
    }

    /// Whether the host of the primary has closed the link, or reset it, since this was asked last.
    pub(crate) fn take_link_reset(&mut self) -> bool {
        std::mem::take(&mut self.link_was_reset)
    }

    /// Those that follow this node.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = ReplicaInfo> {
        let replicas = self.replicas.iter().filter(|replica| replica.is_replica());
        replicas.map(|replica| ReplicaInfo {
            address: Address::new(replica.host(), replica.port),
            acked: replica.acked,
            online: replica.is_online(),
        })
    }

    pub(crate) fn replica(&mut self, connection: ConnectionId) -> Option<&mut Replica> {
        let mut replicas = self.replicas.iter_mut();
        replicas.find(|replica| replica.connection == connection)
    }

    /// The replica on that connection, which is noted if it is new.
    pub(crate) fn introduce(
        &mut self,
        connection: ConnectionId,
        host: String,
        now: Instant,
    ) -> &mut Replica {
        let mut replicas = self.replicas.iter();
        let known = replicas.position(|replica| replica.connection == connection);
        let index = known.unwrap_or_else(|| {
            self.replicas.push(Replica::new(connection, host, now));
            self.replicas.len() - 1
        });
        &mut self.replicas[index]
    }

    /// A connection is gone; if it was a replica's, so is that.
    pub(crate) fn forget(&mut self, connection: ConnectionId, now: Instant) {
        let count = self.replicas.len();
        self.replicas
            .retain(|replica| replica.connection != connection);
        let has_any = self.replicas.iter().any(Replica::is_replica);
        if self.replicas.len() < count && !has_any {
            self.deserted_at = now;
        }
        self.count_good(now);
    }

    /// Says what becomes of clients' requests as the node is about to end.
    pub(crate) fn hold(&mut self, hold: Hold) {
        self.hold = hold;
        if hold != Hold::Writes {
            self.release();
        }
        self.update_guard();
    }

    /// Whether no key is served any more.
    pub(crate) fn refuses(&self) -> bool {
        self.hold == Hold::Refuses
    }

    /// Has all replicas say how far they are.
    pub(crate) fn ask_for_acknowledgements(&mut self) {
        self.waiting.asks |= self.replicas.iter().any(Replica::is_online);
        self.is_asked = true;
    }

    /// Whether all replicas have acknowledged the stream up to there.
    pub(crate) fn has_all_up_to(&self, offset: u64) -> bool {
        let mut replicas = self.replicas.iter().filter(|replica| replica.is_replica());
        replicas.all(|replica| replica.acked >= offset)
    }

    /// Where the replicas listen that have acknowledged the stream up to there.
    pub(crate) fn heirs(&self, offset: u64) -> impl Iterator<Item = Address> {
        let replicas = self.replicas.iter().filter(move |replica| {
            replica.is_online() && replica.acked >= offset && replica.port != 0
        });
        replicas.map(|replica| Address::new(replica.host(), replica.port))
    }

    /// Says in the log which replicas lack something when the node ends.
    pub(crate) fn report_lagging(&self, offset: u64, now: Instant) {
        let replicas = self.replicas.iter().filter(|replica| replica.is_replica());
        let (mut count, mut in_sync) = (0, 0);
        for replica in replicas {
            count += 1;
            if replica.acked >= offset {
                in_sync += 1;
                continue;
            }
            tracing::warn!(
                "Lagging replica {}:{} reported offset {} behind master, lag={}, state={}.",
                replica.host(),
                replica.port,
                offset - replica.acked,
                replica.lag_seconds(now),
                replica.state_name()
            );
        }
        if count > 0 {
            tracing::info!("{in_sync} of {count} replicas are in sync when shutting down.");
        }
    }

    /// Counts the replicas that keep up.
    pub(crate) fn count_good(&mut self, now: Instant) {
        let lag_max = self.settings.lag_max.as_secs();
        let good = self.replicas.iter().filter(|replica| {
            let keeps_up = lag_max == 0 || replica.lag_seconds(now) <= lag_max;
            replica.is_online() && keeps_up
        });
        self.good_replicas = good.count() as u32;
    }

    /// Whether anything may stand against a request of a client, so that it has to be looked at.
    #[inline]
    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn set_settings(&mut self, config: &Config) {
        self.settings = Settings::of(config);
        if let Some(backlog) = &mut self.backlog
            && backlog.size() as u64 != self.settings.backlog_bytes
        {
            backlog.resize(self.settings.backlog_bytes);
        }
        self.update_guard();
    }

    pub(crate) fn set_loading(&mut self, loading: Option<bool>) {
        self.loading = loading;
        self.update_guard();
    }

    /// Whether keys of the primary are on their way to a place that is empty or of another stream.
    pub(crate) fn is_loading(&self) -> bool {
        self.loading == Some(false)
    }

    /// Whether keys of the primary are on their way beside older ones of the same stream.
    pub(crate) fn is_loading_beside(&self) -> bool {
        self.loading == Some(true)
    }

    /// Whether the end of a turn has anything to do.
    #[inline]
    pub(crate) fn is_unsettled(&self) -> bool {
        self.turned || self.is_asked
    }

    fn update_guard(&mut self) {
        self.guarded = self.primary.is_some()
            || self.loading.is_some()
            || self.pauses.is_any()
            || self.hold != Hold::No
            || self.settings.replicas_min > 0 && !self.settings.lag_max.is_zero();
    }
}

/// How long after a failure the primary is tried again.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(1);
