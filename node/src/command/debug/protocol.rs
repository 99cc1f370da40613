//! DEBUG PROTOCOL: one reply of each kind, for those who test clients.

use slotway_protocol::resp::{Protocol, encode};

use super::super::{Call, CommandError};

#[expect(clippy::approx_constant, reason = "what redis-server replies is no pi")]
pub(super) fn protocol(call: &mut Call<'_>) -> Result<(), CommandError> {
    let kind = call.arg(2).to_ascii_lowercase();
    let protocol = call.protocol;
    let is_resp3 = protocol == Protocol::Resp3;
    match &kind[..] {
        b"string" => call.reply_bulk(b"Hello World"),
        b"integer" => call.reply_integer(12_345),
        b"double" => call.reply_double(3.141),
        b"null" => call.reply_null(),
        b"array" => {
            call.reply_array(3);
            (0..3).for_each(|number| call.reply_integer(number));
        }
        b"set" => {
            call.reply_set(3);
            (0..3).for_each(|number| call.reply_integer(number));
        }
        b"map" => {
            call.reply_map(3);
            for number in 0..3 {
                call.reply_integer(number);
                encode::boolean(call.out, protocol, number == 1);
            }
        }
        b"attrib" => {
            if is_resp3 {
                call.out.extend_from_slice(b"|1\r\n");
                call.reply_bulk(b"key-popularity");
                call.reply_array(2);
                call.reply_bulk(b"key:123");
                call.reply_integer(90);
            }
            call.reply_bulk(b"Some real reply following the attribute");
        }
        b"push" if !is_resp3 => {
            return Err(CommandError::text(
                "ERR RESP2 is not supported by this command",
            ));
        }
        b"push" => {
            encode::push(call.out, protocol, 2);
            call.reply_bulk(b"server-cpu-usage");
            call.reply_integer(42);
            call.reply_bulk(b"Some real reply following the push reply");
        }
        b"bignum" if is_resp3 => {
            call.out.push(b'(');
            call.out.extend_from_slice(LARGE_NUMBER);
            call.out.extend_from_slice(b"\r\n");
        }
        b"bignum" => call.reply_bulk(LARGE_NUMBER),
        b"true" => encode::boolean(call.out, protocol, true),
        b"false" => encode::boolean(call.out, protocol, false),
        b"verbatim" => encode::verbatim(call.out, protocol, b"This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::text(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

const LARGE_NUMBER: &[u8] = b"1234567999999999999999999999999999999";
