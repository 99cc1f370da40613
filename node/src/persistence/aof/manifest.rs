//! The manifest of an append-only file: the files it consists of, in order, as one small text.

use super::words;

/// One of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileInfo {
    pub(crate) name: Vec<u8>,
    pub(crate) sequence: i64,
}

/// All files: the keys at one moment are in the base, what changed later in the increments.
/// History are files that a rewrite has replaced and that are still to be removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    pub(crate) base: Option<FileInfo>,
    pub(crate) history: Vec<FileInfo>,
    pub(crate) increments: Vec<FileInfo>,
    base_sequence: i64,
    increment_sequence: i64,
}

/// Why a manifest can't be read, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\n*** FATAL AOF MANIFEST FILE ERROR ***\n\n{}{reason}\n", self.place())]
pub struct ManifestError {
    /// The number of the line and its text, if it is the line that is wrong.
    line: Option<(usize, String)>,
    pub(crate) reason: &'static str,
}

impl ManifestError {
    fn place(&self) -> String {
        self.line
            .as_ref()
            .map_or_else(String::new, |(number, text)| {
                format!("Reading the manifest file, at line {number}\n\n>>> '{text}'\n\n")
            })
    }
}

impl Manifest {
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        if text.is_empty() {
            return Err(ManifestError {
                line: None,
                reason: "Found an empty AOF manifest",
            });
        }
        for (index, piece) in pieces(text).enumerate() {
            if piece.first() == Some(&b'#') {
                continue;
            }
            let Some(line) = piece.strip_suffix(b"\n") else {
                return Err(ManifestError {
                    line: None,
                    reason: "The AOF manifest file contains too long line",
                });
            };
            let line = trimmed(line);
            manifest.take_line(line).map_err(|reason| ManifestError {
                line: Some((index + 1, String::from_utf8_lossy(line).into_owned())),
                reason,
            })?;
        }
        Ok(manifest)
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let words = words::split(line).ok_or(INVALID)?;
        if words.len() < 6 || !words.len().is_multiple_of(2) {
            return Err(INVALID);
        }
        let (mut name, mut sequence, mut kind) = (None, 0, None);
        for pair in words.chunks_exact(2) {
            let (key, value) = (&pair[0], &pair[1]);
            if key.eq_ignore_ascii_case(b"file") {
                if value.iter().any(|byte| matches!(byte, b'/' | b'\\')) {
                    return Err("File can't be a path, just a filename");
                }
                name = Some(value.clone());
            } else if key.eq_ignore_ascii_case(b"seq") {
                sequence = leading_number(value);
            } else if key.eq_ignore_ascii_case(b"type") {
                kind = value.first().copied();
            }
        }
        let (Some(name), Some(kind)) = (name, kind) else {
            return Err(INVALID);
        };
        // redis-server takes a name of no characters, and then writes what it can't read.
        if sequence == 0 || name.is_empty() {
            return Err(INVALID);
        }
        self.take_file(FileInfo { name, sequence }, kind)
    }

    fn take_file(&mut self, file: FileInfo, kind: u8) -> Result<(), &'static str> {
        match kind {
            b'b' if self.base.is_some() => Err("Found duplicate base file information"),
            b'b' => {
                self.base_sequence = file.sequence;
                self.base = Some(file);
                Ok(())
            }
            b'h' => {
                self.history.push(file);
                Ok(())
            }
            b'i' if file.sequence <= self.increment_sequence => {
                Err("Found a non-monotonic sequence number")
            }
            b'i' => {
                self.increment_sequence = file.sequence;
                self.increments.push(file);
                Ok(())
            }
            _ => Err("Unknown AOF file type"),
        }
    }

    /// The text of the file.
    pub fn format(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let base = self.base.iter().map(|file| (file, 'b'));
        let history = self.history.iter().map(|file| (file, 'h'));
        let increments = self.increments.iter().map(|file| (file, 'i'));
        for (file, kind) in base.chain(history).chain(increments) {
            text.extend_from_slice(b"file ");
            words::append(&mut text, &file.name);
            text.extend_from_slice(format!(" seq {} type {kind}\n", file.sequence).as_bytes());
        }
        text
    }

    /// Whether there is nothing to load.
    pub(crate) fn is_empty(&self) -> bool {
        self.base.is_none() && self.increments.is_empty()
    }

    /// The files to load, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = &FileInfo> {
        self.base.iter().chain(&self.increments)
    }

    /// Makes an old file that was one for all the base.
    pub(crate) fn adopt(&mut self, name: &[u8]) {
        self.base_sequence = 1;
        self.base = Some(FileInfo {
            name: name.to_vec(),
            sequence: 1,
        });
    }

    /// Puts a new base in the place of the one there is, which becomes history, and returns its
    /// name.
    pub(crate) fn replace_base(&mut self, prefix: &str) -> Vec<u8> {
        self.base_sequence += 1;
        let name = format!("{prefix}.{}.base.rdb", self.base_sequence).into_bytes();
        let base = FileInfo {
            name: name.clone(),
            sequence: self.base_sequence,
        };
        if let Some(old) = self.base.replace(base) {
            self.history.insert(0, old);
        }
        name
    }

    /// Adds an increment and returns its name.
    pub(crate) fn add_increment(&mut self, prefix: &str) -> Vec<u8> {
        self.increment_sequence += 1;
        let name = format!("{prefix}.{}.incr.aof", self.increment_sequence).into_bytes();
        self.increments.push(FileInfo {
            name: name.clone(),
            sequence: self.increment_sequence,
        });
        name
    }

    /// Makes history of all increments but the last `kept`.
    pub(crate) fn retire_increments(&mut self, kept: usize) {
        let retired = self.increments.len().saturating_sub(kept);
        for file in self.increments.drain(..retired).rev() {
            self.history.insert(0, file);
        }
    }
}

/// The lines with their ends. What is longer than a line may be comes in pieces, and a zero ends a
/// line early, as where the server reads it.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let bounded = &rest[..rest.len().min(LINE_BYTES_MAX)];
        let end = bounded.iter().position(|byte| *byte == b'\n');
        let (piece, after) = rest.split_at(end.map_or(bounded.len(), |end| end + 1));
        rest = after;
        let zero = piece.iter().position(|byte| *byte == 0);
        Some(&piece[..zero.unwrap_or(piece.len())])
    })
}

fn trimmed(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = line.iter().position(|byte| !is_blank(byte));
    let end = line.iter().rposition(|byte| !is_blank(byte));
    match (start, end) {
        (Some(start), Some(end)) => &line[start..=end],
        _ => b"",
    }
}

/// The number that a text begins with; 0 without one.
fn leading_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0i64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(sign * i64::from(digit - b'0'))
    })
}

const INVALID: &str = "Invalid AOF manifest file format";

const LINE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut manifest = Manifest::default();
        for round in 0..3 {
            manifest.replace_base("an \"odd\" name");
            manifest.add_increment("plain");
            manifest.retire_increments(1);
            let text = manifest.format();
            assert_eq!(Manifest::parse(&text).unwrap(), manifest, "round {round}");
        }
        let text = String::from_utf8(manifest.format()).unwrap();
        let expected = r#"file "an \"odd\" name.3.base.rdb" seq 3 type b
file plain.2.incr.aof seq 2 type h
file "an \"odd\" name.2.base.rdb" seq 2 type h
file plain.1.incr.aof seq 1 type h
file "an \"odd\" name.1.base.rdb" seq 1 type h
file plain.3.incr.aof seq 3 type i
"#;
        assert_eq!(text, expected);
    }

    #[test]
    fn what_is_wrong_has_the_words_of_the_server() {
        let long = format!("file {} seq 1 type b\n", "a".repeat(1_024));
        for (text, reason) in [
            ("", "Found an empty AOF manifest"),
            (&long, "The AOF manifest file contains too long line"),
            (
                "file a seq 1 type b",
                "The AOF manifest file contains too long line",
            ),
            ("\n", INVALID),
            ("file a seq 1\n", INVALID),
            ("file a seq 1 type b x\n", INVALID),
            ("file a seq 1 type \"\n", INVALID),
            ("file a seq x type b\n", INVALID),
            ("name a seq 1 type b\n", INVALID),
            ("file \"\" seq 1 type h\n", INVALID),
            (
                "file a/b seq 1 type b\n",
                "File can't be a path, just a filename",
            ),
            (
                "file a seq 1 type b\nfile b seq 2 type b\n",
                "Found duplicate base file information",
            ),
            (
                "file a seq 2 type i\nfile b seq 2 type i\n",
                "Found a non-monotonic sequence number",
            ),
            ("file a seq 1 type x\n", "Unknown AOF file type"),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
        }
        let error = Manifest::parse(b"# a\n  file a seq 1 type x\t\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\n*** FATAL AOF MANIFEST FILE ERROR ***\n\nReading the manifest file, at line 2\n\n\
             >>> 'file a seq 1 type x'\n\nUnknown AOF file type\n"
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = b"# comment\nFILE \"a b\" SEQ 7 startoffset 9 TYPE base\nfile c seq 3x type i\n";
        let manifest = Manifest::parse(text).unwrap();
        let names: Vec<_> = manifest.files().map(|file| &file.name[..]).collect();
        assert_eq!(names, [&b"a b"[..], b"c"]);
        assert_eq!(
            (manifest.base_sequence, manifest.increment_sequence),
            (7, 3)
        );
    }
}
