//! Values as RDB and back, and bytes that are no RDB.

use proptest::prelude::*;

use super::*;
use crate::value::Value;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::{Group, IdWish, NodeLimits, Stream, StreamId};
use crate::value::text::Text;

/// Everything that can be seen of a value, in its order.
fn contents(value: &Value) -> (&'static str, Vec<Vec<u8>>) {
    let elements = match value {
        Value::String(text) => vec![text.as_bytes(&mut Default::default()).to_vec()],
        Value::List(list) => list.iter().map(<[u8]>::to_vec).collect(),
        Value::Set(set) => set.iter().map(|member| member.to_vec()).collect(),
        Value::Hash(hash) => {
            let pairs = hash.iter().flat_map(|(field, value)| [field, value]);
            pairs.map(<[u8]>::to_vec).collect()
        }
        Value::SortedSet(set) => set
            .range(0..set.len())
            .flat_map(|(member, score)| [member.to_vec(), score.to_bits().to_be_bytes().to_vec()])
            .collect(),
        Value::Stream(stream) => {
            stream.check_invariants();
            vec![format!("{stream:?}").into_bytes()]
        }
    };
    (value.encoding(), elements)
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::default();
    encoder.kind(&mut out, value);
    encoder.value(&mut out, value);
    out
}

fn decoded(bytes: &[u8]) -> Result<Value, RdbError> {
    let mut input = Input::new(bytes);
    let kind = input.byte()?;
    let value = input.value(kind)?;
    assert!(input.is_at_end(), "all was read");
    Ok(value)
}

/// Elements that are coded in every way there is.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let integer = prop_oneof![
        -200i64..200,
        -5_000i64..5_000,
        -40_000i64..40_000,
        -9_000_000i64..9_000_000,
        -3_000_000_000i64..3_000_000_000,
        any::<i64>(),
    ];
    prop_oneof![
        4 => integer.prop_map(|integer| integer.to_string().into_bytes()),
        4 => proptest::collection::vec(any::<u8>(), 0..80),
        1 => (any::<u8>(), 0usize..6_000).prop_map(|(byte, len)| vec![byte; len]),
        1 => proptest::collection::vec(any::<u8>(), 4_000..4_200),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(f64::from),
        any::<f64>().prop_filter("scores are numbers", |score| !score.is_nan()),
        Just(-0.0),
        Just(f64::INFINITY),
        Just((i64::MAX / 2) as f64),
    ]
}

/// A stream of entries of one and two fields, some of which are gone, and a group that has some.
fn stream(elements: &[Vec<u8>], step: usize) -> Stream {
    let mut stream = Stream::default();
    let limits = NodeLimits {
        bytes: 4_096,
        entries: 100,
    };
    let mut ids = Vec::new();
    for (at, element) in elements.iter().enumerate() {
        let pairs = [&b"field"[..], element, b"other", element];
        let pairs = &pairs[..if at % step == 0 { 4 } else { 2 }];
        let wish = IdWish::In(1 + at as u64 / 3);
        ids.extend(stream.log.append(wish, pairs, limits, 0));
    }
    let mut group = Group::new(StreamId::new(1, step as u64), step as i64 - 2);
    for (at, id) in ids.iter().enumerate() {
        let name = &elements[at % step % elements.len()];
        match at % (step + 1) {
            0 => assert!(stream.log.delete(*id)),
            1 => {
                group.create_consumer(name, at as i64);
                group.assign(*id, name, -1, u64::MAX - at as u64);
            }
            _ => {}
        }
    }
    stream.log.end_deletion();
    stream.groups.insert(elements[0].as_slice().into(), group);
    stream
}

fn value() -> impl Strategy<Value = Value> {
    let elements = || {
        prop_oneof![
            proptest::collection::vec(element(), 1..40),
            proptest::collection::vec("[a-z]{1,9}".prop_map(String::into_bytes), 100..600),
            proptest::collection::vec(
                any::<i16>().prop_map(|integer| integer.to_string().into_bytes()),
                1..600
            ),
        ]
    };
    prop_oneof![
        element().prop_map(|bytes| Value::String(Text::new(&bytes))),
        elements().prop_map(|elements| {
            let mut list = List::default();
            elements
                .iter()
                .for_each(|element| list.push(End::Right, element));
            Value::List(Box::new(list))
        }),
        elements().prop_map(|elements| {
            let mut set = Set::default();
            elements.iter().for_each(|element| {
                let _ = set.add(element);
            });
            Value::Set(Box::new(set))
        }),
        (elements(), element()).prop_map(|(elements, last)| {
            let mut hash = Hash::default();
            elements.iter().for_each(|element| {
                let _ = hash.set(element, element);
            });
            hash.set(&elements[0], &last);
            Value::Hash(Box::new(hash))
        }),
        (elements(), proptest::collection::vec(score(), 1..600)).prop_map(|(elements, scores)| {
            let mut set = SortedSet::default();
            for (element, score) in elements.iter().zip(scores) {
                set.insert(element, score);
            }
            Value::SortedSet(Box::new(set))
        }),
        (elements(), 1usize..5)
            .prop_map(|(elements, step)| { Value::Stream(Box::new(stream(&elements, step))) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_value_comes_back_as_it_was(value in value()) {
        let back = decoded(&encoded(&value)).unwrap();
        prop_assert_eq!(contents(&back), contents(&value));
    }

    /// Each prefix lacks something, and says no more than what it lacks.
    #[test]
    fn a_cut_value_is_refused(value in value(), cut in any::<prop::sample::Index>()) {
        let bytes = encoded(&value);
        let cut = cut.index(bytes.len());
        let outcome = decoded(&bytes[..cut]).map(|value| contents(&value).1);
        let Err(RdbError::Cut { needed }) = outcome else {
            panic!("cut at {cut} of {}: {outcome:?}", bytes.len());
        };
        prop_assert!((cut + 1..=bytes.len()).contains(&needed), "{needed} {cut}");
    }

    #[test]
    fn no_bytes_cause_a_panic(
        value in value(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = encoded(&value);
        for (place, byte) in flips {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let mut input = Input::new(&bytes);
        let kind = input.byte().unwrap();
        if let Ok(value) = input.value(kind) {
            prop_assert!(!value.is_empty_collection());
        }
    }
}

#[test]
fn lengths_take_as_little_as_the_server_gives_them() {
    for (len, expected) in [
        (0, &[0][..]),
        (63, &[63]),
        (64, &[0x40, 64]),
        (16_383, &[0x7f, 0xff]),
        (16_384, &[0x80, 0, 0, 0x40, 0]),
        (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
        (0x1_0000_0000, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let mut out = Vec::new();
        Encoder::length(&mut out, len);
        assert_eq!(out, expected);
        assert_eq!(Input::new(&out).length(), Ok(len));
    }
}

/// Lengths that nobody could keep are refused before anything is reserved for them.
#[test]
fn announced_lengths_reserve_nothing() {
    let endless = [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for kind in [
        kind::STRING,
        kind::LIST,
        kind::SET,
        kind::HASH,
        kind::SORTED_SET,
        kind::QUICKLIST,
        kind::STREAM_2,
    ] {
        let outcome = decoded(&[&[kind], &endless[..]].concat());
        assert!(matches!(outcome, Err(RdbError::Cut { .. })), "{kind}");
    }
    let compressed = [&[kind::STRING, coding::LZF, 2], &endless[..], b"\0a"].concat();
    assert!(matches!(decoded(&compressed), Err(RdbError::Corrupt(_))));
    // An intset that says it is longer than it is.
    let intset = [kind::SET_INTSET, 10, 2, 0, 0, 0, 255, 255, 255, 255, 1, 0];
    assert!(matches!(decoded(&intset), Err(RdbError::Corrupt(_))));
}

#[test]
fn what_the_node_lacks_is_named() {
    for (kind, expected) in [
        (
            kind::MODULE,
            "values of modules are not supported by this node yet",
        ),
        (
            24,
            "hashes whose fields expire are not supported by this node yet",
        ),
        (8, "Internal error in RDB: an unknown type of value"),
        (26, "Internal error in RDB: an unknown type of value"),
    ] {
        assert_eq!(decoded(&[kind, 0]).unwrap_err().to_string(), expected);
    }
}

#[test]
fn nothing_is_in_a_collection_twice() {
    let hash = [kind::HASH, 2, 1, b'f', 1, b'v', 1, b'f', 1, b'w'];
    let set = [kind::SET, 2, 1, b'm', 1, b'm'];
    let sorted_set = [kind::SORTED_SET_TEXT, 2, 1, b'm', 1, b'1', 1, b'm', 1, b'2'];
    for bytes in [&hash[..], &set, &sorted_set] {
        assert!(
            matches!(decoded(bytes), Err(RdbError::Corrupt(_))),
            "{bytes:?}"
        );
    }
    let not_a_number = [kind::SORTED_SET_TEXT, 1, 1, b'm', 253];
    assert!(matches!(decoded(&not_a_number), Err(RdbError::Corrupt(_))));
    assert_eq!(decoded(&[kind::SET, 0]).unwrap_err(), RdbError::Empty);
}

/// Keys as they stand in a file: database, key, what is seen of the value, and the date.
type Keys = Vec<(u32, Vec<u8>, (&'static str, Vec<Vec<u8>>), u64)>;

fn file(values: &[(u32, Value, u64)], compress: bool) -> (Vec<u8>, Keys) {
    let about = About {
        server_version: "7.0.15",
        unix_seconds: 1_700_000_000,
        memory: 1 << 40,
        position: None,
        is_aof_base: false,
    };
    let mut saver = Saver::new(about, compress, true);
    let mut file = Vec::new();
    let mut keys = Keys::new();
    saver.database(0, values.len(), 0);
    for (index, (database, value, expires_at)) in values.iter().enumerate() {
        let key = format!("key:{index}").into_bytes();
        saver.key(*database, &key, value, *expires_at);
        keys.push((*database, key, contents(value), *expires_at));
        if index % 2 == 0 {
            file.extend(saver.take());
        }
    }
    saver.end();
    file.extend(saver.take());
    (file, keys)
}

/// Reads a file in pieces that end at the cuts.
fn read(file: &[u8], len: Option<u64>, cuts: &[usize]) -> Result<Keys, RdbError> {
    let mut keys = Keys::new();
    let mut take = |key: LoadedKey<'_>| {
        keys.push((
            key.database,
            key.key.to_vec(),
            contents(&key.value),
            key.expires_at,
        ));
        Ok(())
    };
    let mut loader = Loader::new(len, true);
    let mut from = 0;
    for cut in cuts.iter().copied().chain([file.len()]) {
        loader.push(&file[from..cut], &mut take)?;
        from = cut;
    }
    loader.finish(&mut take)?;
    Ok(keys)
}

fn values() -> impl Strategy<Value = Vec<(u32, Value, u64)>> {
    let one = (0u32..3, value(), prop_oneof![Just(0), 1u64..u64::MAX >> 1]);
    proptest::collection::vec(one, 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_file_comes_back_in_any_pieces(
        values in values(),
        compress in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let (file, keys) = file(&values, compress);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(file.len())).collect();
        cuts.sort_unstable();
        let len = Some(file.len() as u64);
        prop_assert!(read(&file, len, &cuts) == Ok(keys.clone()));
        prop_assert!(read(&file, None, &cuts) == Ok(keys));
    }

    #[test]
    fn a_file_that_was_cut_is_refused(values in values(), cut in any::<prop::sample::Index>()) {
        let (file, _) = file(&values, true);
        let cut = cut.index(file.len());
        let outcome = read(&file[..cut], None, &[cut / 2]).map(|keys| keys.len());
        prop_assert!(matches!(outcome, Err(RdbError::Cut { .. })), "{outcome:?}");
    }

    #[test]
    fn a_file_with_a_flipped_bit_is_refused(
        values in values(),
        place in any::<prop::sample::Index>(),
        bit in 0u32..8,
    ) {
        let (mut file, _) = file(&values, true);
        let place = place.index(file.len());
        file[place] ^= 1u8 << bit;
        prop_assert!(read(&file, None, &[]).is_err(), "{place}");
    }
}

#[test]
fn a_file_is_told_from_others() {
    for (file, expected) in [
        (
            &b"REDIX0010"[..],
            "Wrong signature trying to load DB from file",
        ),
        (b"REDIS0013", "Can't handle RDB format version 13"),
        (b"REDIS0000", "Can't handle RDB format version 0"),
        (b"REDIS00x1", "Can't handle RDB format version 0"),
        (
            b"REDIS",
            "Short read or OOM loading DB. Unrecoverable error, aborting now.",
        ),
        (
            b"",
            "Short read or OOM loading DB. Unrecoverable error, aborting now.",
        ),
        (
            b"REDIS0010\xf6\x00",
            "functions of before version 7 are not supported by this node yet",
        ),
        (
            b"REDIS0010\xf7\x00",
            "values of modules are not supported by this node yet",
        ),
        (
            b"REDIS0010\xff\x01\0\0\0\0\0\0\0",
            "Wrong RDB checksum expected: (1) but got (eb7ea789fe37fda9). Aborting now.",
        ),
    ] {
        let error = read(file, None, &[]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    // Before version 5 there was no checksum, and 0 says that there is none.
    assert_eq!(read(b"REDIS0004\xff", None, &[]), Ok(Keys::new()));
    assert_eq!(
        read(b"REDIS0010\xff\0\0\0\0\0\0\0\0", None, &[]),
        Ok(Keys::new())
    );
}

#[test]
fn a_file_of_known_length_is_not_waited_for_in_vain() {
    let mut loader = Loader::new(Some(40), true);
    let mut take = |_: LoadedKey<'_>| Ok(());
    // A key of a gigabyte in a file of forty bytes.
    let outcome = loader.push(b"REDIS0010\x00\x80\x40\0\0\0", &mut take);
    assert!(matches!(outcome, Err(RdbError::Cut { .. })));
}

#[test]
fn what_stands_between_keys_is_read_over() {
    let parts: [&[u8]; 9] = [
        b"REDIS0012",
        b"\xfa\x03any\x03aux",
        b"\xf4\x01\x01\x00",
        b"\xf9\x07\x00\x01a\x01v",
        b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xf8\x05\x00\x01b\x01v",
        b"\xfd\x02\x00\x00\x00\x00\x01c\x01v",
        b"\xfc\x00\x00\x00\x00\x00\x00\x00\x80\x00\x01d\x01v",
        b"\x02\x05empty\x00",
        b"\xff\0\0\0\0\0\0\0\0and more",
    ];
    let keys = read(&parts.concat(), None, &[]).unwrap();
    let seen: Vec<(&[u8], u64)> = keys
        .iter()
        .map(|(_, key, _, date)| (&key[..], *date))
        .collect();
    assert_eq!(seen, [(&b"a"[..], 0), (b"b", 0), (b"c", 2_000), (b"d", 1)]);
}
