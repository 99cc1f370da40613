//! A process learns so many commands and no more: alone in its process, because that is full then.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use slotway_protocol::command::{Command, Learned};
use slotway_protocol::resp::encode;

#[test]
fn a_process_learns_so_many_commands_and_no_more() {
    let first = Learned::parse(&made_up(0..1_500)).unwrap();
    assert_eq!((first.len(), first.left_out()), (1_500, 0));
    let second = Learned::parse(&made_up(1_000..3_000)).unwrap();
    assert_eq!((second.len(), second.left_out()), (1_048, 952));
    // Those that are known already are still learned by whoever learns them next.
    let third = Learned::parse(&made_up(0..3_000)).unwrap();
    assert_eq!((third.len(), third.left_out()), (2_048, 952));
    for command in third.all() {
        assert!(core::ptr::eq(Command::by_id(command.id), command));
    }
    assert!(third.lookup(b"made.2047").is_some() && third.lookup(b"made.2048").is_none());
}

fn made_up(numbers: core::ops::Range<usize>) -> Vec<u8> {
    let mut reply = Vec::new();
    encode::array(&mut reply, numbers.len());
    for number in numbers {
        encode::array(&mut reply, 6);
        encode::bulk(&mut reply, format!("made.{number}").as_bytes());
        encode::integer(&mut reply, -1);
        encode::array(&mut reply, 0);
        (0..3).for_each(|_| encode::integer(&mut reply, 0));
    }
    reply
}
