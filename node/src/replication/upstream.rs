//! The connection to the primary until the stream of writes begins: who says what when, as a state
//! machine on lines.

use slotway_protocol::resp::encode;

/// How far the conversation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// The answer to PING is to come.
    Ping,
    /// The answers to these are to come, in this order.
    Introduction(Vec<Introduction>),
    /// The answer to PSYNC.
    Psync,
    /// What stands before the keys.
    Header,
}

/// What a replica says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Introduction {
    Auth,
    Port,
    Address,
    Capabilities,
}

/// What a replica has to say, and where it was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) port: u16,
    pub(crate) address: String,
    /// The id of the stream, and the number of the byte that is wanted next.
    pub(crate) position: Option<(String, u64)>,
}

/// What is to be done after a line of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait for the next line.
    Wait,
    /// The stream goes on where it was, perhaps under another id.
    Continue(Option<String>),
    /// All keys come, and after them the stream from that position on.
    Everything { id: String, offset: u64 },
    /// The keys come now.
    Keys(Form),
    /// It can't be now, or it went wrong: end the connection and try again soon.
    GiveUp(String),
}

/// How the end of the keys can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    Length(u64),
    /// These forty bytes follow.
    EndMark([u8; MARK_LEN]),
}

/// The length of an end mark.
pub(crate) const MARK_LEN: usize = 40;

impl Step {
    /// Begins the conversation.
    pub(crate) fn begin(out: &mut Vec<u8>) -> Self {
        encode::request(out, &["PING"]);
        Self::Ping
    }

    /// Takes a line, without its end. Empty ones only say that the primary is alive, and are not
    /// to be given to this.
    pub(crate) fn handle_line(
        &mut self,
        line: &[u8],
        credentials: &Credentials,
        out: &mut Vec<u8>,
    ) -> Verdict {
        match self {
            Self::Ping => {
                let is_fine = line.starts_with(b"+")
                    || [&b"-NOAUTH"[..], b"-NOPERM", b"-ERR operation not permitted"]
                        .iter()
                        .any(|error| line.starts_with(error));
                if !is_fine {
                    return give_up("Error reply to PING from master", line);
                }
                *self = Self::Introduction(introduce(credentials, out));
                Verdict::Wait
            }
            Self::Introduction(awaited) => {
                let is_error = line.starts_with(b"-");
                if is_error && awaited.first() == Some(&Introduction::Auth) {
                    return give_up("Unable to AUTH to MASTER", line);
                }
                // A primary that does not understand the rest can be followed all the same.
                awaited.remove(0);
                if awaited.is_empty() {
                    ask(credentials, out);
                    *self = Self::Psync;
                }
                Verdict::Wait
            }
            Self::Psync => self.handle_psync(line, out),
            Self::Header => header(line),
        }
    }

    fn handle_psync(&mut self, line: &[u8], out: &mut Vec<u8>) -> Verdict {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        match words.next().unwrap_or_default() {
            "+FULLRESYNC" => {
                let id = words.next().filter(|id| id.len() == ID_LEN);
                let offset = words.next().and_then(|offset| offset.parse().ok());
                let (Some(id), Some(offset)) = (id, offset) else {
                    return give_up("Master replied with wrong +FULLRESYNC syntax", line);
                };
                *self = Self::Header;
                Verdict::Everything {
                    id: id.to_owned(),
                    offset,
                }
            }
            "+CONTINUE" => {
                let id = words.next().filter(|id| id.len() == ID_LEN);
                Verdict::Continue(id.map(str::to_owned))
            }
            "-NOMASTERLINK" | "-LOADING" => give_up(
                "Master is currently unable to PSYNC but should be in the future",
                line,
            ),
            error if error.starts_with('-') => {
                // It is too old for PSYNC.
                out.extend_from_slice(b"SYNC\r\n");
                *self = Self::Header;
                Verdict::Wait
            }
            _ => give_up("Unexpected reply to PSYNC from master", line),
        }
    }
}

fn introduce(credentials: &Credentials, out: &mut Vec<u8>) -> Vec<Introduction> {
    let mut awaited = Vec::new();
    if !credentials.password.is_empty() {
        let (user, password) = (credentials.user.as_str(), credentials.password.as_str());
        if user.is_empty() {
            encode::request(out, &["AUTH", password]);
        } else {
            encode::request(out, &["AUTH", user, password]);
        }
        awaited.push(Introduction::Auth);
    }
    let port = credentials.port.to_string();
    encode::request(out, &["REPLCONF", "listening-port", &port]);
    awaited.push(Introduction::Port);
    if !credentials.address.is_empty() {
        encode::request(out, &["REPLCONF", "ip-address", &credentials.address]);
        awaited.push(Introduction::Address);
    }
    encode::request(out, &["REPLCONF", "capa", "eof", "capa", "psync2"]);
    awaited.push(Introduction::Capabilities);
    awaited
}

fn ask(credentials: &Credentials, out: &mut Vec<u8>) {
    match &credentials.position {
        Some((id, next)) => encode::request(out, &["PSYNC", id, &next.to_string()]),
        None => encode::request(out, &["PSYNC", "?", "-1"]),
    }
}

fn header(line: &[u8]) -> Verdict {
    if let Some(mark) = line.strip_prefix(b"$EOF:") {
        return match mark.try_into() {
            Ok(mark) => Verdict::Keys(Form::EndMark(mark)),
            Err(_) => give_up("Bad protocol from MASTER", line),
        };
    }
    let len = line.strip_prefix(b"$").and_then(|len| {
        let len = core::str::from_utf8(len).ok()?;
        len.parse().ok()
    });
    match len {
        Some(len) => Verdict::Keys(Form::Length(len)),
        None if line.starts_with(b"-") => give_up("MASTER aborted replication with an error", line),
        None => give_up("Bad protocol from MASTER", line),
    }
}

fn give_up(reason: &str, line: &[u8]) -> Verdict {
    Verdict::GiveUp(format!("{reason}: {}", String::from_utf8_lossy(line)))
}

const ID_LEN: usize = 40;

/// A line of the primary is shorter than this.
pub(crate) const LINE_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_goes_through_all_steps() {
        let mut out = Vec::new();
        let mut step = Step::begin(&mut out);
        let id = "a".repeat(40);
        let credentials = Credentials {
            password: "secret".to_owned(),
            port: 7,
            position: Some((id.clone(), 12)),
            ..Credentials::default()
        };
        let mut say = |line: &str| {
            out.clear();
            let verdict = step.handle_line(line.as_bytes(), &credentials, &mut out);
            let words = String::from_utf8(out.clone()).unwrap();
            let words = words
                .split("\r\n")
                .filter(|word| !word.starts_with(['*', '$']));
            (
                verdict,
                words.collect::<Vec<_>>().join(" ").trim().to_owned(),
            )
        };
        let asked = "AUTH secret REPLCONF listening-port 7 REPLCONF capa eof capa psync2";
        let waits = |said: &str| (Verdict::Wait, said.to_owned());
        assert_eq!(say("-NOAUTH Authentication required."), waits(asked));
        assert_eq!(say("+OK"), waits(""));
        assert_eq!(say("-ERR what?"), waits(""));
        assert_eq!(say("+OK"), waits(&format!("PSYNC {id} 12")));
        let everything = Verdict::Everything {
            id: id.clone(),
            offset: 5,
        };
        assert_eq!(say(&format!("+FULLRESYNC {id} 5")).0, everything);
        assert_eq!(say("$100").0, Verdict::Keys(Form::Length(100)));
        assert_eq!(
            say(&format!("$EOF:{id}")).0,
            Verdict::Keys(Form::EndMark([b'a'; 40]))
        );
        assert!(matches!(say("$x").0, Verdict::GiveUp(_)));
    }

    #[test]
    fn answers_to_psync_are_understood() {
        let id = "b".repeat(40);
        let answer = |line: &str| {
            let (mut step, mut out) = (Step::Psync, Vec::new());
            let verdict = step.handle_line(line.as_bytes(), &Credentials::default(), &mut out);
            (verdict, out)
        };
        let with_id = format!("+CONTINUE {id}");
        assert_eq!(answer("+CONTINUE").0, Verdict::Continue(None));
        assert_eq!(answer(&with_id).0, Verdict::Continue(Some(id)));
        assert!(matches!(answer("-NOMASTERLINK x").0, Verdict::GiveUp(_)));
        assert!(matches!(answer("+FULLRESYNC x 1").0, Verdict::GiveUp(_)));
        let old = answer("-ERR unknown command 'PSYNC'");
        assert_eq!(old, (Verdict::Wait, b"SYNC\r\n".to_vec()));
    }
}
