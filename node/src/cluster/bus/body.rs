//! What follows the header of a message, by its type.

use super::header::{Flags, Kind, Shape};
use super::packet::PacketError;
use super::slot_set::{SLOT_BYTES, SlotSet};
use super::wire::{HOST_BYTES, ID_BYTES, Reader, push_text, text};

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Heartbeat(Heartbeat, Gossip),
    /// The majority holds that node to be down.
    Fail(String),
    Publish {
        channel: Vec<u8>,
        message: Vec<u8>,
        sharded: bool,
    },
    AuthRequest,
    AuthAck,
    /// That node owns those slots, with that epoch; the receiver seems not to know.
    Update {
        epoch: u64,
        id: String,
        slots: SlotSet,
    },
    ManualFailoverStart,
    /// For a module; there are none here.
    Module,
}

/// What a message with gossip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heartbeat {
    Ping,
    Pong,
    Meet,
}

/// What a node tells of others, and of its own name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gossip {
    pub entries: Vec<GossipEntry>,
    /// Empty for none.
    pub hostname: String,
}

/// What a node tells of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipEntry {
    pub id: String,
    /// In seconds since 1970, as the sender's clock has it; 0 for never.
    pub ping_sent: u32,
    pub pong_received: u32,
    pub host: String,
    pub port: u16,
    pub bus_port: u16,
    pub flags: Flags,
}

impl Body {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Heartbeat(Heartbeat::Ping, _) => Kind::Ping,
            Self::Heartbeat(Heartbeat::Pong, _) => Kind::Pong,
            Self::Heartbeat(Heartbeat::Meet, _) => Kind::Meet,
            Self::Fail(_) => Kind::Fail,
            Self::Publish { sharded: false, .. } => Kind::Publish,
            Self::Publish { sharded: true, .. } => Kind::PublishShard,
            Self::AuthRequest => Kind::AuthRequest,
            Self::AuthAck => Kind::AuthAck,
            Self::Update { .. } => Kind::Update,
            Self::ManualFailoverStart => Kind::ManualFailoverStart,
            Self::Module => Kind::Module,
        }
    }

    pub(super) fn shape(&self) -> Shape {
        let (count, extensions) = match self {
            Self::Heartbeat(_, gossip) => (
                gossip.entries.len() as u16,
                u16::from(!gossip.hostname.is_empty()),
            ),
            _ => (0, 0),
        };
        Shape {
            kind: self.kind(),
            count,
            extensions,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Heartbeat(_, gossip) => write_gossip(gossip, out),
            Self::Fail(id) => push_text(out, id, ID_BYTES),
            Self::Publish {
                channel, message, ..
            } => {
                for part in [channel, message] {
                    out.extend_from_slice(&(part.len() as u32).to_be_bytes());
                }
                out.extend_from_slice(channel);
                out.extend_from_slice(message);
            }
            Self::Update { epoch, id, slots } => {
                out.extend_from_slice(&epoch.to_be_bytes());
                push_text(out, id, ID_BYTES);
                out.extend_from_slice(slots.as_bytes());
            }
            Self::AuthRequest | Self::AuthAck | Self::ManualFailoverStart | Self::Module => {}
        }
    }

    /// Reads all that is left.
    pub(super) fn read(shape: Shape, reader: &mut Reader<'_>) -> Result<Self, PacketError> {
        Ok(match shape.kind {
            Kind::Ping => Self::Heartbeat(Heartbeat::Ping, read_gossip(shape, reader)?),
            Kind::Pong => Self::Heartbeat(Heartbeat::Pong, read_gossip(shape, reader)?),
            Kind::Meet => Self::Heartbeat(Heartbeat::Meet, read_gossip(shape, reader)?),
            Kind::Fail => Self::Fail(reader.id()?),
            Kind::Publish => read_published(false, reader)?,
            Kind::PublishShard => read_published(true, reader)?,
            Kind::AuthRequest => Self::AuthRequest,
            Kind::AuthAck => Self::AuthAck,
            Kind::Update => Self::Update {
                epoch: reader.u64()?,
                id: reader.id()?,
                slots: SlotSet::from_bytes(reader.array::<SLOT_BYTES>()?),
            },
            Kind::ManualFailoverStart => Self::ManualFailoverStart,
            Kind::Module => {
                reader.bytes(reader.len())?;
                Self::Module
            }
        })
    }
}

fn write_gossip(gossip: &Gossip, out: &mut Vec<u8>) {
    for entry in &gossip.entries {
        push_text(out, &entry.id, ID_BYTES);
        out.extend_from_slice(&entry.ping_sent.to_be_bytes());
        out.extend_from_slice(&entry.pong_received.to_be_bytes());
        push_text(out, &entry.host, HOST_BYTES);
        for number in [entry.port, entry.bus_port, entry.flags.0, 0, 0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
    if gossip.hostname.is_empty() {
        return;
    }
    // The text ends with a zero, and its length is a multiple of eight.
    let padded = (gossip.hostname.len() + 1).next_multiple_of(EXTENSION_UNIT);
    out.extend_from_slice(&((EXTENSION_UNIT + padded) as u32).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    push_text(out, &gossip.hostname, padded);
}

fn read_gossip(shape: Shape, reader: &mut Reader<'_>) -> Result<Gossip, PacketError> {
    let mut gossip = Gossip::default();
    for _ in 0..shape.count {
        let id = reader.id()?;
        let (ping_sent, pong_received) = (reader.u32()?, reader.u32()?);
        let host = reader.host()?;
        let (port, bus_port) = (reader.u16()?, reader.u16()?);
        let flags = Flags(reader.u16()?);
        reader.bytes(4)?;
        gossip.entries.push(GossipEntry {
            id,
            ping_sent,
            pong_received,
            host,
            port,
            bus_port,
            flags,
        });
    }
    for _ in 0..shape.extensions {
        let len = reader.u32()? as usize;
        let kind = reader.u16()?;
        reader.u16()?;
        if !len.is_multiple_of(EXTENSION_UNIT) {
            return Err(PacketError::Length);
        }
        let data = len
            .checked_sub(EXTENSION_UNIT)
            .ok_or(PacketError::Length)
            .and_then(|len| reader.bytes(len))?;
        // Those of later versions say nothing that this one knows.
        if kind == EXTENSION_HOSTNAME {
            gossip.hostname = text(data)?;
        }
    }
    Ok(gossip)
}

fn read_published(sharded: bool, reader: &mut Reader<'_>) -> Result<Body, PacketError> {
    let (channel_len, message_len) = (reader.u32()? as usize, reader.u32()? as usize);
    Ok(Body::Publish {
        channel: reader.bytes(channel_len)?.to_vec(),
        message: reader.bytes(message_len)?.to_vec(),
        sharded,
    })
}

/// The length of an extension's own header, which all lengths are multiples of.
const EXTENSION_UNIT: usize = 8;
const EXTENSION_HOSTNAME: u16 = 0;
