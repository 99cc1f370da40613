//! Scripts at the proxy: it remembers those that clients use, and when a node does not know the one
//! that an EVALSHA names, sends the script itself instead. Nothing has run then.

use bytes::Bytes;
use slotway_protocol::command::{Command, CommandId, lookup};
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::{
    Request, RequestBuffers, RequestLimits, RequestScanner, Scan, encode,
};

use super::Proxy;
use super::hold::{Held, Target};
use super::peers::Body;
use super::pipeline::{InFlight, Kind};
use super::script_cache::Digest;

impl Proxy {
    /// Remembers the script that an EVAL brings. The other workers, whose clients may name it by
    /// its SHA-1, are told when it is new.
    pub(super) fn note_script(&mut self, command: &Command, request: &Request<'_>) {
        if !matches!(command.name, "eval" | "eval_ro") || request.len() < 2 {
            return;
        }
        if let Some(body) = self.remember_script(request.arg(1))
            && self.options.worker_count > 1
            && let Some(left) = self.scripts_told.checked_sub(body.len())
        {
            self.scripts_told = left;
            self.send_to_peers(None, Body::Script(body));
        }
    }

    /// A script was loaded, here and for the clients of all workers.
    pub(super) fn share_script(&mut self, body: Bytes) {
        self.remember_script(&body);
        if self.options.worker_count > 1 {
            self.send_to_peers(None, Body::Script(body));
        }
    }

    /// Gives the script when it was not known before.
    pub(super) fn remember_script(&mut self, body: &[u8]) -> Option<Bytes> {
        let bytes_max = self.options.script_cache_bytes_max;
        let body = self.scripts.note(body, bytes_max)?;
        let evicted = self.scripts.trim(bytes_max);
        self.stats.scripts_evicted.add(evicted as u64);
        Some(body)
    }

    /// The script that an EVALSHA names, if it is known.
    pub(super) fn script_of(&mut self, command: &Command, request: &Request<'_>) -> Option<Bytes> {
        if !matches!(command.name, "evalsha" | "evalsha_ro") || request.len() < 2 {
            return None;
        }
        self.scripts.find(Digest::parse(request.arg(1))?)
    }

    /// The node does not know the script that the oldest request names: when it is known here, the
    /// request goes back to its slot's hold with the script in it. Says whether it does.
    #[cold]
    pub(super) fn heal_script(&mut self, index: usize, reply: &[u8], now: Instant) -> bool {
        // A script that ran could say this, too, but not by accident.
        if !is_no_script(reply) {
            return false;
        }
        let lane = index % self.lanes();
        let pipeline = &self.pipelines[index];
        let address = pipeline.address.clone();
        let Some(kind) = pipeline.front().map(|front| front.kind) else {
            return false;
        };
        // What the client has sent after it was served already: it would see the script undone.
        if pipeline.is_front_followed() {
            return false;
        }
        let Some((command, frame)) = self.with_script(&pipeline.front_bytes()) else {
            return false;
        };
        if self.holds.bytes() + frame.len() > self.options.hold_bytes_max {
            return false;
        }
        let Some(entry) = self.pipelines[index].pop() else {
            return false;
        };
        self.stats.scripts_healed.inc();
        let slot = entry.slot;
        self.begin_hold(slot, now);
        self.in_flight_by_slot[slot.index()] -= 1;
        let held = Held {
            entry: InFlight {
                command,
                len: frame.len() as u32,
                ..entry
            },
            frame,
            lane,
            target: match kind {
                Kind::Asked => Target::Ask(address),
                _ => Target::Owner,
            },
            error: Some(Bytes::copy_from_slice(reply)),
        };
        self.put_back(held, now, now);
        if self.holds.settle(slot) {
            self.advance_hold(slot, now);
        }
        true
    }

    /// The request with the script instead of its SHA-1.
    pub(super) fn with_script(&mut self, frame: &[u8]) -> Option<(CommandId, Vec<u8>)> {
        let mut buffers = RequestBuffers::default();
        // What was let in was within the limits then, whatever they are now.
        let limits = RequestLimits::default();
        let scan = RequestScanner::default().scan(frame, &limits, &mut buffers);
        let Ok(Scan::Request { .. }) = scan else {
            return None;
        };
        let request = buffers.request(frame);
        let by_name = lookup(request.arg(0))?;
        let body = self.script_of(by_name, &request)?;
        let name = if by_name.name == "evalsha" {
            "EVAL"
        } else {
            "EVAL_RO"
        };
        let mut frame = Vec::with_capacity(frame.len() + body.len());
        encode::array(&mut frame, request.len());
        encode::bulk(&mut frame, name.as_bytes());
        encode::bulk(&mut frame, &body);
        frame.extend_from_slice(request.encoded_args(2..request.len()));
        Some((lookup(name.as_bytes())?.id, frame))
    }

    /// Does what is to be done for the scripts from time to time.
    pub(super) fn sweep_scripts(&mut self) {
        let evicted = self.scripts.trim(self.options.script_cache_bytes_max);
        self.stats.scripts_evicted.add(evicted as u64);
        self.stats.scripts.set(self.scripts.len() as i64);
        self.stats.script_bytes.set(self.scripts.bytes() as i64);
        self.scripts_told = TOLD_BYTES_MAX;
    }
}

/// Whether the node says that it does not know the script.
pub(super) fn is_no_script(reply: &[u8]) -> bool {
    NO_SCRIPT.contains(&reply.trim_ascii_end())
}

/// What a node says that does not know the script: Redis 7, and newer servers.
const NO_SCRIPT: [&[u8]; 2] = [
    b"-NOSCRIPT No matching script. Please use EVAL.",
    b"-NOSCRIPT No matching script.",
];

/// How much of the scripts of EVALs the other workers are told between two sweeps: clients that
/// make a new script for each call must not fill the way between the workers.
const TOLD_BYTES_MAX: usize = 64 * 1024;
