//! One message: where it ends, and its parts.

use super::body::Body;
use super::header::{Header, Kind, SIGNATURE};
use super::wire::Reader;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub header: Header,
    pub body: Body,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("it does not begin as a message of the bus")]
    Signature,
    #[error("its length is out of range")]
    TotalLength,
    #[error("it has another version")]
    Version,
    #[error("its type is unknown")]
    Kind,
    #[error("its length does not fit its type")]
    Length,
    #[error("an id in it is none")]
    Id,
    #[error("a name in it has characters that names don't have")]
    Text,
}

impl PacketError {
    /// Whether it can't be told where the next message begins, so that the connection has to go.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Signature | Self::TotalLength)
    }
}

impl Packet {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.header.write(self.body.shape(), out);
        self.body.write(out);
        let len = (out.len() - start) as u32;
        out[start + SIGNATURE.len()..start + PREFIX_BYTES].copy_from_slice(&len.to_be_bytes());
    }

    /// Reads a message that is there from its first byte to its last.
    pub fn decode(frame: &[u8]) -> Result<Self, PacketError> {
        let mut reader = Reader::new(frame);
        if reader.array()? != SIGNATURE {
            return Err(PacketError::Signature);
        }
        if reader.u32()? as usize != frame.len() {
            return Err(PacketError::Length);
        }
        let (header, shape) = Header::read(&mut reader)?;
        let body = Body::read(shape, &mut reader)?;
        if reader.len() > 0 {
            return Err(PacketError::Length);
        }
        Ok(Self { header, body })
    }
}

/// The length of the message at the front of `input`, once that can be told. `published_max` is
/// how long a channel and its message may be; what else a message says has a bound of its own.
pub fn frame_len(input: &[u8], published_max: u64) -> Result<Option<usize>, PacketError> {
    let begins_well = SIGNATURE
        .iter()
        .zip(input)
        .all(|(wanted, byte)| wanted == byte);
    if !begins_well {
        return Err(PacketError::Signature);
    }
    let Some(prefix) = input.first_chunk::<FRAME_PREFIX_BYTES>() else {
        return Ok(None);
    };
    let mut reader = Reader::new(&prefix[SIGNATURE.len()..]);
    let len = reader.u32()? as usize;
    reader.bytes(4)?;
    let kind = Kind::from_number(reader.u16()?);
    let count = usize::from(reader.u16()?);
    let content_max = match kind {
        Some(Kind::Publish | Kind::PublishShard | Kind::Module) => {
            usize::try_from(published_max).unwrap_or(usize::MAX)
        }
        _ => (count * GOSSIP_BYTES).saturating_add(OTHER_MAX),
    };
    let range = HEADER_BYTES..=HEADER_BYTES.saturating_add(content_max);
    if !range.contains(&len) {
        return Err(PacketError::TotalLength);
    }
    Ok(Some(len))
}

/// How many types of messages there are.
pub(crate) const KINDS: usize = Kind::ALL.len();

/// Signature and length.
const PREFIX_BYTES: usize = 8;

/// As much as tells the length and whether it can be true.
const FRAME_PREFIX_BYTES: usize = 16;

const HEADER_BYTES: usize = 2256;
const GOSSIP_BYTES: usize = 104;

/// What all but published messages and gossip may be long: an update, or the extensions of a ping.
const OTHER_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slotway_protocol::cluster::Slot;

    use super::super::{Flags, Gossip, GossipEntry, Heartbeat, SlotSet};
    use super::*;

    fn id() -> impl Strategy<Value = String> {
        "[0-9a-f]{40}"
    }

    fn slots() -> impl Strategy<Value = SlotSet> {
        let slots = proptest::collection::vec(0..16_384_u64, 0..50);
        slots.prop_map(|slots| slots.into_iter().filter_map(Slot::new).collect())
    }

    fn entry() -> impl Strategy<Value = GossipEntry> {
        let times = (any::<u32>(), any::<u32>());
        let ports = (any::<u16>(), any::<u16>(), any::<u16>());
        (id(), times, "[0-9a-f.:]{0,46}", ports).prop_map(|(id, times, host, ports)| GossipEntry {
            id,
            ping_sent: times.0,
            pong_received: times.1,
            host,
            port: ports.0,
            bus_port: ports.1,
            flags: Flags(ports.2),
        })
    }

    fn body() -> impl Strategy<Value = Body> {
        let heartbeat = prop_oneof![
            Just(Heartbeat::Ping),
            Just(Heartbeat::Pong),
            Just(Heartbeat::Meet)
        ];
        let entries = proptest::collection::vec(entry(), 0..5);
        let gossip = (entries, "[a-z.-]{0,30}");
        let bytes = || proptest::collection::vec(any::<u8>(), 0..100);
        prop_oneof![
            (heartbeat, gossip).prop_map(|(heartbeat, (entries, hostname))| {
                Body::Heartbeat(heartbeat, Gossip { entries, hostname })
            }),
            id().prop_map(Body::Fail),
            (bytes(), bytes(), any::<bool>()).prop_map(|(channel, message, sharded)| {
                Body::Publish {
                    channel,
                    message,
                    sharded,
                }
            }),
            Just(Body::AuthRequest),
            Just(Body::AuthAck),
            Just(Body::ManualFailoverStart),
            (any::<u64>(), id(), slots()).prop_map(|(epoch, id, slots)| Body::Update {
                epoch,
                id,
                slots
            }),
        ]
    }

    fn packet() -> impl Strategy<Value = Packet> {
        let ports = (any::<u16>(), any::<u16>(), any::<u16>());
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
        let names = (id(), proptest::option::of(id()), "[0-9a-f.:]{0,46}");
        let says = (any::<bool>(), any::<bool>(), any::<bool>());
        (ports, numbers, names, slots(), says, body()).prop_map(
            |(ports, numbers, names, slots, says, body)| Packet {
                header: Header {
                    port: ports.0,
                    bus_port: ports.1,
                    flags: Flags(ports.2),
                    current_epoch: numbers.0,
                    config_epoch: numbers.1,
                    offset: numbers.2,
                    sender: names.0,
                    primary: names.1.filter(|id| id.bytes().any(|byte| byte != 0)),
                    host: names.2,
                    slots,
                    is_down: says.0,
                    is_paused: says.1,
                    forces_vote: says.2,
                },
                body,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_the_same(packet in packet()) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            prop_assert_eq!(frame_len(&bytes, 1_000), Ok(Some(bytes.len())));
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        }

        #[test]
        fn a_message_that_is_cut_or_longer_is_refused(packet in packet(), cut in 0..4_000_usize) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            let cut = cut % bytes.len();
            // Both with the length as it was, and with one that says how many bytes there are.
            prop_assert!(Packet::decode(&bytes[..cut]).is_err());
            let mut shorter = bytes[..cut].to_vec();
            bytes.push(0);
            for altered in [&mut shorter, &mut bytes] {
                let len = altered.len() as u32;
                if let Some(place) = altered.get_mut(4..8) {
                    place.copy_from_slice(&len.to_be_bytes());
                }
                prop_assert!(Packet::decode(altered).is_err());
            }
        }

        #[test]
        fn altered_bytes_are_no_harm(packet in packet(), changes in proptest::collection::vec(
            (any::<usize>(), any::<u8>()), 1..20,
        )) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            for (place, byte) in changes {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            let _ = frame_len(&bytes, 1_000);
            if let Ok(packet) = Packet::decode(&bytes) {
                let mut again = Vec::new();
                packet.encode(&mut again);
                prop_assert_eq!(Packet::decode(&again), Ok(packet));
            }
        }
    }

    #[test]
    fn the_length_is_judged_before_the_rest_is_there() {
        let with_len = |len: u32, kind: u16, count: u16| {
            let mut bytes = b"RCmb".to_vec();
            bytes.extend_from_slice(&len.to_be_bytes());
            for number in [1, 7000, kind, count] {
                bytes.extend_from_slice(&u16::to_be_bytes(number));
            }
            bytes
        };
        assert_eq!(frame_len(&with_len(2256, 0, 0), 0), Ok(Some(2256)));
        assert_eq!(frame_len(&with_len(2256, 0, 0)[..15], 0), Ok(None));
        let too_long = Err(PacketError::TotalLength);
        assert_eq!(frame_len(&with_len(2255, 0, 0), 0), too_long);
        assert_eq!(frame_len(&with_len(u32::MAX, 0, u16::MAX), 0), too_long);
        assert_eq!(frame_len(&with_len(2256 + 101, 4, 0), 100), too_long);
        assert_eq!(
            frame_len(&with_len(2256 + 100, 4, 0), 100),
            Ok(Some(2256 + 100))
        );
        assert_eq!(frame_len(b"GET", 0), Err(PacketError::Signature));
        assert_eq!(frame_len(b"RC", 0), Ok(None));
    }
}
