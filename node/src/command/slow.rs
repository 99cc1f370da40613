//! SLOWLOG and LATENCY of a node that keeps neither: there is never anything in them, which is what
//! tools that look there get.

use slotway_protocol::resp::encode;

use super::{Call, CommandError, Run};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("slowlog|get", get),
    ("slowlog|len", zero),
    ("slowlog|reset", ok),
    ("latency|latest", nothing),
    ("latency|history", nothing),
    ("latency|reset", zero),
];

fn get(call: &mut Call<'_>) -> Result<(), CommandError> {
    if call.len() > 3 {
        return Err(super::unknown_or_wrong_arguments(call, "SLOWLOG"));
    }
    if call.len() == 3 && !call.integer_arg(2).is_ok_and(|count| count >= -1) {
        return Err(CommandError::text(
            "ERR count should be greater than or equal to -1",
        ));
    }
    nothing(call)
}

fn nothing(call: &mut Call<'_>) -> Result<(), CommandError> {
    encode::array(call.out, 0);
    Ok(())
}

fn zero(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_integer(0);
    Ok(())
}

fn ok(call: &mut Call<'_>) -> Result<(), CommandError> {
    call.reply_ok();
    Ok(())
}
