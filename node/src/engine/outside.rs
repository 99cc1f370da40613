//! What a node and whoever runs it tell each other.

use std::time::Duration;

use super::{AofEvent, AofPart, ConfigOutcome, ConfigWork, LoadPart, LoadReply, SavePart};
use crate::cluster::{ClusterView, SavedCluster};
use crate::persistence::saving::SaveId;
use crate::report::Report;

/// What the outside tells a node.
#[derive(Debug)]
pub enum Event {
    /// The cluster looks different now. Ignored by a node that is not part of one.
    SetView(Box<ClusterView>),
    /// Close all clients once their output is written, and take no new ones.
    Drain,
    /// Bytes of a save were written.
    SaveWritten(SaveId),
    /// A save has succeeded or failed.
    SaveEnded(SaveId, bool),
    /// What came of a [`Notice::Config`].
    Config(ConfigOutcome),
    /// That version of the cluster file is written.
    NodesConfSaved(u64),
    /// The next part of what is loaded at the start.
    Load(LoadPart),
    /// What came of a [`Notice::Aof`].
    Aof(AofEvent),
    /// The driver is about to stop: what is still to be written has to be handed to it now.
    Flush,
    /// Somebody wants to know how the node is: say so with [`Notice::Report`].
    Report,
    /// SIGTERM asks for the end, as SHUTDOWN does. The driver is told with [`Notice::Shutdown`].
    Terminate,
    /// The same for SIGINT.
    Interrupt,
}

/// What a node tells the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// No client is to be accepted any more.
    Closing,
    /// The node has come to its end: stop the driver.
    Shutdown,
    /// The client asked for DEBUG SLEEP: stop for so long, with all that this thread does.
    Sleep(Duration),
    /// All keys are being saved.
    Save(SaveId, SavePart),
    /// Settings have changed, or are to be written down.
    Config(ConfigWork),
    /// The node follows a primary now, or is one.
    IsPrimary(bool),
    /// The cluster file is to be written, and answered with [`Event::NodesConfSaved`].
    NodesConf(SavedCluster),
    /// What came of the last [`Event::Load`].
    Loaded(LoadReply),
    /// Something is to be done with the append-only file.
    Aof(AofPart),
    /// How the node is.
    Report(Box<Report>),
}
