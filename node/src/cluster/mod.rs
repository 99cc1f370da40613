//! The node's part in its cluster: what it knows of the others, and whether a request is its own.
//! With a bus it also talks to them. All of that is here, without I/O: messages and the time come
//! in, and what is to be done is left in a queue of effects.

pub mod bus;
mod claims;
mod contact;
mod crash;
mod effects;
mod election;
mod failure;
mod gossip;
mod handshake;
mod links;
mod manual;
mod members;
mod nodes_conf;
mod receive;
mod saved;
mod send;
mod settings;
mod slots;
mod tick;
mod view;

pub use contact::Contact;
pub use effects::SavedCluster;
pub use nodes_conf::NodesConfError;
pub use view::{ClusterConfig, ClusterView, NodeInfo};

pub(crate) use effects::Effect;
pub(crate) use failure::ClusterState;
pub(crate) use handshake::MeetError;
pub(crate) use links::{Link, LinkId};
pub(crate) use manual::{FailoverError, FailoverForm};
pub(crate) use nodes_conf::{describe, epoch};
pub(crate) use settings::{Settings, Standing, bus_port};
pub(crate) use slots::{Keyed, Permissions, each_key, has_keys, lost, route, slot_of};

use std::collections::{BTreeMap, VecDeque};

use slotway_protocol::cluster::{Role, Slot};
use slotway_protocol::engine::{Instant, Now};

use crate::command::Random;
use bus::{KINDS, Kind};
use crash::CrashWatch;
use election::Election;
use links::Links;
use manual::ManualFailover;
use saved::Saver;

/// A node's view of its cluster, with the answers it gives most often worked out.
#[derive(Debug)]
pub(crate) struct Cluster {
    me: String,
    /// The index of this node in the view.
    my_index: usize,
    view: ClusterView,
    state: ClusterState,
    /// There are links to other nodes. Without, the view changes only by commands and events.
    has_bus: bool,
    settings: Settings,
    standing: Standing,
    /// When this node last heard of the primary that it follows and whose keys it has.
    synced_at: Option<Instant>,
    random: Random,
    links: Links,
    stats: BusStats,
    effects: VecDeque<Effect>,
    saver: Saver,
    started: Instant,
    /// What it is was in the cluster file when it started.
    had_past: bool,
    /// When most primaries were last out of reach.
    minority_at: Option<Instant>,
    /// How many primaries owned slots when the state was last worked out.
    last_size: usize,
    ticks: u64,
    /// Nodes that were forgotten, and until when nobody's word brings them back.
    forgotten: BTreeMap<String, Instant>,
    last_vote_epoch: u64,
    election: Election,
    manual: ManualFailover,
    crash: CrashWatch,
    /// Slots that this node was told to take over, and from whom, until that node says so no more.
    granted: BTreeMap<Slot, String>,
    /// For tests: messages of that type are ignored.
    pub(crate) ignored: Option<Kind>,
    /// Something has changed that the state may depend on.
    state_outdated: bool,
    /// There may be a reason to ask for votes, or to end an election.
    election_due: bool,
    /// Others have to hear whether this node may take over: its primary may end next.
    flag_outdated: bool,
}

/// Messages since the start, by type.
#[derive(Debug, Default)]
pub(crate) struct BusStats {
    pub(crate) sent: [u64; KINDS],
    pub(crate) received: [u64; KINDS],
}

impl Cluster {
    pub(crate) fn new(config: ClusterConfig, settings: Settings, seed: u64) -> Self {
        let mut cluster = Self {
            me: config.me,
            my_index: 0,
            view: ClusterView::default(),
            state: ClusterState::Fail,
            has_bus: false,
            settings,
            standing: Standing::default(),
            synced_at: None,
            random: Random::new(seed),
            links: Links::default(),
            stats: BusStats::default(),
            effects: VecDeque::new(),
            saver: Saver::default(),
            started: Instant::default(),
            had_past: false,
            minority_at: None,
            last_size: 1,
            ticks: 0,
            forgotten: BTreeMap::new(),
            last_vote_epoch: 0,
            election: Election::default(),
            manual: ManualFailover::default(),
            crash: CrashWatch::default(),
            granted: BTreeMap::new(),
            ignored: None,
            state_outdated: false,
            election_due: false,
            flag_outdated: false,
        };
        cluster.set_view(config.view);
        cluster
    }

    /// From now on the node talks to the others.
    pub(crate) fn start_bus(&mut self, now: Now) {
        self.has_bus = true;
        self.started = now.instant;
        self.state = ClusterState::Fail;
        self.state_outdated = true;
        self.saver.is_dirty = true;
        self.update_my_address();
    }

    pub(crate) fn has_bus(&self) -> bool {
        self.has_bus
    }

    pub(crate) fn view(&self) -> &ClusterView {
        &self.view
    }

    /// Replaces the whole view. One without this node in it is refused, as it can only be a
    /// mistake.
    pub(crate) fn set_view(&mut self, view: ClusterView) {
        match view.index_of(&self.me) {
            Some(index) => {
                self.my_index = index;
                self.view = view;
                self.changed();
            }
            None => debug_assert!(false, "a view contains the node that holds it"),
        }
    }

    /// Changes the view in place.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut ClusterView) -> R) -> R {
        let result = change(&mut self.view);
        self.changed();
        result
    }

    /// Notes that something has changed that is to be saved, and that the state may depend on.
    fn changed(&mut self) {
        self.saver.is_dirty = true;
        if self.has_bus {
            self.state_outdated = true;
        } else {
            self.judge_view();
        }
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    pub(crate) fn my_index(&self) -> usize {
        self.my_index
    }

    pub(crate) fn my_info(&self) -> &NodeInfo {
        &self.view.nodes()[self.my_index]
    }

    fn my_info_mut(&mut self) -> &mut NodeInfo {
        &mut self.view.nodes_mut()[self.my_index]
    }

    pub(crate) fn is_primary(&self) -> bool {
        self.my_info().role == Role::Primary
    }

    /// Whether the keys of a slot are this node's or its primary's.
    pub(crate) fn serves(&self, slot: Slot) -> bool {
        let owner = self.view.owner(slot);
        owner.is_some_and(|owner| {
            owner.id == self.me || self.my_info().primary.as_ref() == Some(&owner.id)
        })
    }

    pub(crate) fn state(&self) -> ClusterState {
        self.state
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn set_settings(&mut self, settings: Settings) {
        if settings != self.settings {
            self.flag_outdated |= self.settings.no_failover != settings.no_failover;
            self.settings = settings;
            self.update_my_address();
            self.changed();
        }
    }

    /// Takes notice of how this node's replication stands. Called before anything that goes by it.
    pub(crate) fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
        if standing.is_up {
            self.synced_at = Some(standing.last_io);
        }
    }

    pub(crate) fn stats(&self) -> &BusStats {
        &self.stats
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter()
    }

    /// How often a link was closed for too much that waited.
    pub(crate) fn limit_exceeded(&self) -> u64 {
        self.links.limit_exceeded
    }

    pub(crate) fn is_link(&self, link: LinkId) -> bool {
        self.links.get(link).is_some()
    }

    pub(crate) fn count_received(&mut self, kind: Kind) {
        self.stats.received[usize::from(kind.number())] += 1;
    }

    /// Whether [`Cluster::settle`] has anything to do; asked after every turn.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        let is_quiet = !self.state_outdated
            && !self.election_due
            && !self.manual.is_catching_up()
            && !self.saver.has_work();
        self.effects.is_empty() && (is_quiet || !self.has_bus)
    }

    /// Does what was put off to the end of a turn.
    pub(crate) fn settle(&mut self, now: Now) {
        if !self.has_bus {
            return;
        }
        if std::mem::take(&mut self.election_due) || self.manual.is_catching_up() {
            self.go_on_with_election(now);
        }
        if std::mem::take(&mut self.state_outdated) {
            self.update_state(now);
        }
        if std::mem::take(&mut self.flag_outdated) {
            self.announce(now);
        }
        self.save_if_due();
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The primary whose slots this node serves or would serve: itself, or the one it follows.
    fn my_primary_index(&self) -> Option<usize> {
        match &self.my_info().primary {
            Some(primary) => self.view.index_of(primary),
            None => Some(self.my_index),
        }
    }

    /// Takes over what the settings say of this node's own address.
    fn update_my_address(&mut self) {
        let settings = self.settings.clone();
        let mine = self.my_info_mut();
        if !settings.announce_host.is_empty() {
            mine.address.host = settings.announce_host.as_str().into();
        }
        if settings.port != 0 {
            mine.address.port = settings.port;
        }
        if settings.bus_port != 0 {
            mine.bus_port = settings.bus_port;
        }
        mine.hostname = settings.announce_hostname;
        mine.no_failover = settings.no_failover;
    }
}
