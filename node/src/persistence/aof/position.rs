//! The line at the end of an append-only file that says up to where in the stream of writes it is
//! whole: `#REPL:id offset database`. To redis-server it is an annotation, which it passes over.

use crate::persistence::rdb::StreamPosition;

/// The id of a stream, how many bytes of it the file has, and the database that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedPosition {
    pub(crate) id: String,
    pub(crate) offset: u64,
    pub(crate) database: u32,
}

/// The line that says so.
pub(crate) fn annotation(position: &StreamPosition<'_>) -> String {
    let StreamPosition {
        id,
        offset,
        database,
    } = position;
    format!("{MARK}{id} {offset} {database}\r\n")
}

impl LoggedPosition {
    /// What a line says, if it is such a line.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = core::str::from_utf8(line).ok()?;
        let mut words = line.trim_end().strip_prefix(MARK)?.split(' ');
        let (id, offset, database) = (words.next()?, words.next()?, words.next()?);
        let is_id = id.len() == ID_LEN && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id || words.next().is_some() {
            return None;
        }
        Some(Self {
            id: id.to_owned(),
            offset: offset.parse().ok()?,
            database: database.parse().ok()?,
        })
    }
}

const MARK: &str = "#REPL:";
const ID_LEN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let line = annotation(&StreamPosition {
            id,
            offset: 77,
            database: 3,
        });
        let position = LoggedPosition::parse(line.as_bytes()).unwrap();
        assert_eq!(
            (position.id.as_str(), position.offset, position.database),
            (id, 77, 3)
        );
        for wrong in [
            "#TS:1700000000\r\n".to_owned(),
            line.replace("77", "x"),
            line.replace("77", "-1"),
            line.replace(" 3", ""),
            line.replace(" 3", " 3 4"),
            line.replace("0123", "012"),
            line.replace("0123", "012g"),
        ] {
            assert_eq!(LoggedPosition::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
