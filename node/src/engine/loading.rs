//! Loading files at the start, piece by piece as a driver reads them. Clients are served meanwhile,
//! but told to wait for whatever needs keys.

use slotway_protocol::engine::{Action, Now};

use super::appending::AofSizes;
use super::replay::Replay;
use super::saving::Loading;
use super::{Node, Notice};
use crate::keyspace::ExpiryRule;
use crate::persistence::aof::LoggedPosition;
use crate::persistence::rdb::{About, RdbError, Saver};
use crate::server_state::LoadProgress;

/// What a driver has read. It sends the next part when the one before is answered.
#[derive(Debug)]
pub enum LoadPart {
    /// A file of that length comes.
    File { bytes: u64, kind: FileKind },
    /// The next bytes of the file.
    Bytes(Vec<u8>),
    /// That was all of the file.
    EndOfFile,
    /// That was the last file. The append-only file is open and so long, if it is on.
    End { log: Option<AofSizes> },
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// All keys, of which those that have expired are left out.
    Rdb,
    /// All keys, and maybe commands behind them.
    AofWithRdb,
    /// Commands.
    Aof,
}

/// What came of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadReply {
    Taken,
    /// The file ends within a command or a transaction, of which nothing was done.
    Cut(LoadCut),
    /// All files are loaded.
    Complete,
    /// Nothing more can be taken.
    Failed(LoadFailure),
}

/// Where a file ceases to be whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadCut {
    /// So many bytes at the front are whole.
    pub valid_bytes: u64,
    /// What follows them is the beginning of a transaction.
    pub in_transaction: bool,
}

/// Why a file can't be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadFailure {
    Rdb(RdbError),
    /// There are bytes that are no command.
    Format,
    /// There is a command that this node does not have.
    UnknownCommand(String),
}

/// What is loaded at the start.
#[derive(Debug, Default)]
pub(super) struct LoadingFiles {
    /// The file that is being read.
    file: Option<LoadingFile>,
    /// What the end of the append-only file says of the stream of writes.
    position: Option<LoggedPosition>,
}

#[derive(Debug)]
struct LoadingFile {
    stage: Stage,
    kind: FileKind,
    /// How many bytes have come.
    bytes: u64,
}

#[derive(Debug)]
enum Stage {
    Rdb(Loading),
    Commands(Box<Replay>),
}

impl Node {
    /// Lets clients wait until a driver has sent [`LoadPart::End`]; so many bytes are to be loaded.
    pub fn begin_loading_files(&mut self, bytes: u64, now: Now) {
        self.state.server.loading = Some(LoadProgress {
            began: now,
            total_bytes: bytes,
            loaded_bytes: 0,
        });
    }

    /// The file of a node without keys, as it begins an append-only file.
    pub fn empty_base(&self, now: Now) -> Vec<u8> {
        let about = About {
            server_version: crate::REDIS_VERSION,
            unix_seconds: now.unix_ms / 1_000,
            memory: self.state.keyspace.memory(),
            is_aof_base: true,
            position: None,
        };
        let config = self.config();
        let mut saver = Saver::new(about, config.rdbcompression, config.rdbchecksum);
        saver.end();
        saver.take()
    }

    pub(super) fn take_load_part(&mut self, part: LoadPart, now: Now) {
        let is_end = matches!(part, LoadPart::End { .. });
        let reply = match self.load_part(part, now) {
            Ok(None) if is_end => LoadReply::Complete,
            Ok(None) => LoadReply::Taken,
            Ok(Some(cut)) => LoadReply::Cut(cut),
            Err(failure) => LoadReply::Failed(failure),
        };
        self.actions
            .push_back(Action::Notify(Notice::Loaded(reply)));
    }

    fn load_part(&mut self, part: LoadPart, now: Now) -> Result<Option<LoadCut>, LoadFailure> {
        match part {
            LoadPart::File { bytes, kind } => {
                let stage = match kind {
                    FileKind::Rdb | FileKind::AofWithRdb => Stage::Rdb(self.begin_loading(bytes)),
                    FileKind::Aof => Stage::Commands(Box::new(Replay::at(0))),
                };
                self.loading.file = Some(LoadingFile {
                    stage,
                    kind,
                    bytes: 0,
                });
            }
            LoadPart::Bytes(bytes) => {
                if let Some(progress) = &mut self.state.server.loading {
                    progress.loaded_bytes += bytes.len() as u64;
                }
                if let Some(file) = self.loading.file.take() {
                    self.loading.file = Some(self.load_bytes(file, &bytes, now)?);
                }
            }
            LoadPart::EndOfFile => {
                if let Some(file) = self.loading.file.take() {
                    return self.end_file(file);
                }
            }
            LoadPart::End { log } => {
                self.state.keyspace.select_database(0);
                self.state.server.saving.saved_changes = self.state.keyspace.changes;
                self.state.server.loading = None;
                if let Some(LoggedPosition {
                    id,
                    offset,
                    database,
                }) = self.loading.position.take()
                {
                    let replication = &mut self.state.server.replication;
                    replication.restore(&id, offset, database);
                    self.state.update_listening();
                }
                if let Some(sizes) = log {
                    self.open_log(sizes);
                }
                self.tend_link(now);
            }
        }
        Ok(None)
    }

    fn load_bytes(
        &mut self,
        mut file: LoadingFile,
        bytes: &[u8],
        now: Now,
    ) -> Result<LoadingFile, LoadFailure> {
        // What was written later may need a key that expires before now.
        let is_aof = file.kind != FileKind::Rdb;
        let unix_ms = if is_aof { 0 } else { now.unix_ms };
        self.state.keyspace.set_now(unix_ms);
        self.state.keyspace.expiry = ExpiryRule::Remove;
        file.bytes += bytes.len() as u64;
        match &mut file.stage {
            Stage::Rdb(loading) => {
                self.load(loading, bytes).map_err(LoadFailure::Rdb)?;
                if is_aof && let Some(rest) = loading.take_rest() {
                    let mut replay = Replay::at(file.bytes - rest.len() as u64);
                    self.state.replay(&mut replay, &rest, now)?;
                    file.stage = Stage::Commands(Box::new(replay));
                }
            }
            Stage::Commands(replay) => self.state.replay(replay, bytes, now)?,
        }
        Ok(file)
    }

    fn end_file(&mut self, file: LoadingFile) -> Result<Option<LoadCut>, LoadFailure> {
        match file.stage {
            Stage::Rdb(loading) => {
                self.end_loading(loading).map_err(LoadFailure::Rdb)?;
                Ok(None)
            }
            Stage::Commands(replay) => {
                self.loading.position = replay.logged_position();
                Ok(replay.end())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::engine::{Address, Engine, Instant};

    use super::*;
    use crate::engine::Event;
    use crate::{Config, NodeConfig};

    fn at(ms: u64) -> Now {
        Now {
            instant: Instant::from_micros(ms * 1_000),
            unix_ms: ms,
        }
    }

    fn connects(node: &mut Node) -> usize {
        let actions = std::iter::from_fn(|| node.poll_action());
        actions
            .filter(|action| matches!(action, Action::Connect { .. }))
            .count()
    }

    #[test]
    fn a_replica_asks_its_primary_for_nothing_before_its_files_are_loaded() {
        let config = NodeConfig {
            config: Config {
                replicaof: Some(Address::new("127.0.0.1", 1)),
                ..Config::default()
            },
            ..NodeConfig::default()
        };
        let mut node = Node::new(config, at(0));
        node.begin_loading_files(0, at(0));
        for tick in 1..20 {
            node.handle_timeout(at(tick * 100));
        }
        assert_eq!(connects(&mut node), 0);
        node.handle_event(Event::Load(LoadPart::End { log: None }), at(2_000));
        assert_eq!(connects(&mut node), 1);
    }
}
