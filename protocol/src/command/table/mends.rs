//! Keys of modules' commands that the modules themselves announce wrongly or not at all: most name
//! the first key only, and then the parts of one request would be sought on the wrong node.

use super::entry::{counted, key, keys};
use crate::command::keys::KeySpec;

/// The true key specs of the command of that name, in lower case, when those that are announced
/// are not to be believed.
pub(in crate::command) fn mended(name: &str) -> Option<&'static [KeySpec]> {
    let found = MENDS.iter().find(|(known, _)| *known == name);
    found.map(|(_, specs)| *specs)
}

const MENDS: &[(&str, &[KeySpec])] = &[
    ("cms.merge", MERGE),
    // A cursor is known to the node that made it only. The name of the index leads there, and is
    // in each request for it.
    ("ft.aggregate", &[key(1, "not_key")]),
    ("ft.cursor", &[key(2, "not_key")]),
    ("ft.cursor|del", &[key(2, "not_key")]),
    ("ft.cursor|gc", &[key(2, "not_key")]),
    ("ft.cursor|read", &[key(2, "not_key")]),
    // The last argument is the path.
    ("json.mget", &[keys(1, -2, "RO access")]),
    ("tdigest.merge", MERGE),
    ("ts.createrule", RULE),
    ("ts.deleterule", RULE),
];

/// The destination, and as many sources as the argument behind it says.
const MERGE: &[KeySpec] = &[key(1, "RW update"), counted(2, "RO access")];

const RULE: &[KeySpec] = &[key(1, "RW update"), key(2, "RW update")];
