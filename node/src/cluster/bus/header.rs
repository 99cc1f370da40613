//! What every message begins with: who sends it, and what that node holds to be true of itself.

use super::packet::PacketError;
use super::slot_set::{SLOT_BYTES, SlotSet};
use super::wire::{HOST_BYTES, ID_BYTES, Reader, push_text};

/// The type of a message, as a number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Pong,
    Meet,
    Fail,
    Publish,
    AuthRequest,
    AuthAck,
    Update,
    ManualFailoverStart,
    Module,
    PublishShard,
}

/// What a node, or somebody else of it, says about its part in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

/// The first bytes of every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub port: u16,
    pub bus_port: u16,
    pub current_epoch: u64,
    /// A replica sends its primary's.
    pub config_epoch: u64,
    /// How far the sender's stream of writes has come.
    pub offset: u64,
    pub sender: String,
    /// A replica sends its primary's.
    pub slots: SlotSet,
    pub primary: Option<String>,
    /// Empty: the receiver sees it at the connection.
    pub host: String,
    pub flags: Flags,
    /// The sender holds the cluster to be down.
    pub is_down: bool,
    /// The sender takes no writes, so that a replica can catch up.
    pub is_paused: bool,
    /// The sender asks for votes although the primary is not held to have failed.
    pub forces_vote: bool,
}

/// What the header says about what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) count: u16,
    pub(super) extensions: u16,
}

impl Kind {
    pub(super) const ALL: [Self; 11] = [
        Self::Ping,
        Self::Pong,
        Self::Meet,
        Self::Fail,
        Self::Publish,
        Self::AuthRequest,
        Self::AuthAck,
        Self::Update,
        Self::ManualFailoverStart,
        Self::Module,
        Self::PublishShard,
    ];

    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    pub fn number(self) -> u16 {
        self as u16
    }

    /// As CLUSTER INFO calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Meet => "meet",
            Self::Fail => "fail",
            Self::Publish => "publish",
            Self::AuthRequest => "auth-req",
            Self::AuthAck => "auth-ack",
            Self::Update => "update",
            Self::ManualFailoverStart => "mfstart",
            Self::Module => "module",
            Self::PublishShard => "publishshard",
        }
    }
}

impl Flags {
    pub const PRIMARY: Self = Self(1);
    pub const REPLICA: Self = Self(2);
    pub const SUSPECTED: Self = Self(4);
    pub const FAILED: Self = Self(8);
    pub const MYSELF: Self = Self(16);
    pub const HANDSHAKE: Self = Self(32);
    pub const NO_ADDRESS: Self = Self(64);
    pub const MEET: Self = Self(128);
    pub const MIGRATE_TO: Self = Self(256);
    pub const NO_FAILOVER: Self = Self(512);

    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    pub fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    pub fn set(&mut self, flags: Self, on: bool) {
        if on {
            self.0 |= flags.0;
        } else {
            self.0 &= !flags.0;
        }
    }
}

impl Header {
    pub(super) fn write(&self, shape: Shape, out: &mut Vec<u8>) {
        out.extend_from_slice(SIGNATURE);
        // The length, which is known in the end.
        out.extend_from_slice(&[0; 4]);
        for number in [VERSION, self.port, shape.kind.number(), shape.count] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        for number in [self.current_epoch, self.config_epoch, self.offset] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        push_text(out, &self.sender, ID_BYTES);
        out.extend_from_slice(self.slots.as_bytes());
        push_text(out, self.primary.as_deref().unwrap_or(""), ID_BYTES);
        push_text(out, &self.host, HOST_BYTES);
        out.extend_from_slice(&shape.extensions.to_be_bytes());
        out.extend_from_slice(&[0; UNUSED_BYTES]);
        // The port without TLS, of a node that has both.
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.bus_port.to_be_bytes());
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.push(u8::from(self.is_down));
        let paused = u8::from(self.is_paused) * PAUSED;
        let forces = u8::from(self.forces_vote) * FORCES_VOTE;
        let extended = u8::from(shape.extensions > 0) * EXTENDED;
        out.extend_from_slice(&[paused | forces | extended, 0, 0]);
    }

    /// Reads what follows signature and length.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<(Self, Shape), PacketError> {
        if reader.u16()? != VERSION {
            return Err(PacketError::Version);
        }
        let port = reader.u16()?;
        let kind = Kind::from_number(reader.u16()?).ok_or(PacketError::Kind)?;
        let count = reader.u16()?;
        let (current_epoch, config_epoch, offset) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let sender = reader.id()?;
        let slots = SlotSet::from_bytes(reader.array::<SLOT_BYTES>()?);
        let primary = reader.optional_id()?;
        let host = reader.host()?;
        let extensions = reader.u16()?;
        reader.bytes(UNUSED_BYTES + 2)?;
        let bus_port = reader.u16()?;
        let flags = Flags(reader.u16()?);
        let is_down = reader.u8()? != 0;
        let [message_flags, ..] = *reader.array::<3>()?;
        let header = Self {
            port,
            bus_port,
            current_epoch,
            config_epoch,
            offset,
            sender,
            slots,
            primary,
            host,
            flags,
            is_down,
            is_paused: message_flags & PAUSED != 0,
            forces_vote: message_flags & FORCES_VOTE != 0,
        };
        let shape = Shape {
            kind,
            count,
            extensions,
        };
        Ok((header, shape))
    }
}

pub(super) const SIGNATURE: &[u8; 4] = b"RCmb";
const VERSION: u16 = 1;
const UNUSED_BYTES: usize = 30;

const PAUSED: u8 = 1;
const FORCES_VOTE: u8 = 2;
const EXTENDED: u8 = 4;
