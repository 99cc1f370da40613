//! Random command lines, the same for the same seed.

/// Makes command lines out of patterns.
pub(crate) struct Generator {
    state: u64,
    /// How many fields, members and elements there are to choose from.
    members: usize,
    /// How often a group is repeated at most.
    repeats: usize,
    /// The time of the entry that was added to a stream last.
    ms: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        // Few members are met again and again; many make collections large.
        let (members, repeats) = [(6, 4), (40, 6), (300, 40), (3000, 150)][seed as usize / 2 % 4];
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            members,
            repeats,
            ms: 1,
        }
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as usize % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn choose<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    /// A command line. In a pattern stand for themselves words, and `a|b` is one of them; `Kh` is
    /// a key of a hash, and so on; `F` is a field or member, `V` a value, `I` an integer, `N` a
    /// small one, `D` a floating point number, `B` and `L` an end of a range by score and by
    /// bytes, `O` an option of ZADD, `P` a pattern; `FV*` is any number of pairs. Of streams, `A`
    /// is the ID of a new entry, `E` of any, `R` an end of a range, `G` a group, `C` a consumer,
    /// `J` a time that entries are idle.
    pub(crate) fn line(&mut self, pattern: &str) -> Vec<Vec<u8>> {
        let mut line: Vec<Vec<u8>> = Vec::new();
        for (at, word) in pattern.split(' ').enumerate() {
            match word.strip_suffix('*') {
                _ if at == 0 => line.push(word.as_bytes().to_vec()),
                None => line.push(self.word(word)),
                Some(group) => {
                    for _ in 0..=self.below(self.repeats) {
                        let letters = group.chars();
                        line.extend(letters.map(|letter| self.word(&letter.to_string())));
                    }
                }
            }
        }
        if self.one_in(40) {
            line.truncate(1 + self.below(line.len()));
        } else if self.one_in(60) {
            line.push(self.word("N"));
        }
        line
    }

    fn word(&mut self, word: &str) -> Vec<u8> {
        if let Some(kind) = word.strip_prefix('K') {
            return self.key(kind);
        }
        match word {
            "F" => self.member(),
            "V" => self.value(),
            "I" => self.integer().into_bytes(),
            "N" => self.small().into_bytes(),
            "D" => self.double().into_bytes(),
            "B" => self.score_bound().into_bytes(),
            "L" => self.lex_bound(),
            "A" => self.new_id().into_bytes(),
            "E" => self.id().into_bytes(),
            "R" => self.id_bound().into_bytes(),
            "G" => self.choose(&["g0", "g0", "g1", "g"]).as_bytes().to_vec(),
            "C" => format!("c{}", self.below(3)).into_bytes(),
            "J" => self
                .choose(&["0", "0", "3600000", "-1", "x"])
                .as_bytes()
                .to_vec(),
            "O" => self
                .choose(&["NX", "XX", "gt", "LT", "ch", "CH"])
                .as_bytes()
                .to_vec(),
            "P" => self
                .choose(&[
                    "*", "m*", "*1*", "m:[0-4]*", "?", "m:[^2]?", "\\m:1*", "m:[4-", "**9",
                ])
                .as_bytes()
                .to_vec(),
            _ => {
                let choices: Vec<&str> = word.split('|').collect();
                self.choose(&choices).as_bytes().to_vec()
            }
        }
    }

    /// A key of a type, rarely of another one or one that is never there. Keys of sorted sets with
    /// equal scores are kept apart from the others.
    fn key(&mut self, kind: &str) -> Vec<u8> {
        let kind = if self.one_in(50) && kind == "y" {
            "x"
        } else if self.one_in(50) {
            let others = self.choose(&["h", "l", "s", "x", "missing"]);
            if matches!(others, "s" | "h") && self.one_in(2) {
                "x"
            } else {
                others
            }
        } else {
            kind
        };
        match kind {
            "missing" => b"missing".to_vec(),
            "x" => b"x0".to_vec(),
            kind => format!("{kind}{}", self.below(3)).into_bytes(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        let member = self.below(self.members);
        match self.below(60) {
            0 => Vec::new(),
            1 => format!("{member}").into_bytes(),
            2 => [b"long:".repeat(13), member.to_string().into_bytes()].concat(),
            3 => vec![0, b'\r', b'\n', 0xff, member as u8],
            _ => format!("m:{member}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(30) {
            0 => b"v".repeat(65),
            1 => b"v".repeat(64),
            2 => b"long value ".repeat(400),
            3..=9 => self.integer().into_bytes(),
            _ => self.member(),
        }
    }

    fn integer(&mut self) -> String {
        match self.below(60) {
            0 => i64::MAX.to_string(),
            1 => i64::MIN.to_string(),
            2 => "9223372036854775808".to_owned(),
            3 => self
                .choose(&["", "x", "1.5", " 1", "-0", "+1", "01"])
                .to_owned(),
            4 => (i64::MAX - self.below(10) as i64).to_string(),
            _ => (self.below(self.members * 2) as i64 - self.members as i64 / 2).to_string(),
        }
    }

    fn small(&mut self) -> String {
        match self.below(40) {
            0 => self
                .choose(&["x", "", "1.5", "9223372036854775807", "9223372036854775808"])
                .into(),
            1..=3 => self.below(2000).to_string(),
            _ => (self.below(24) as i64 - 7).to_string(),
        }
    }

    fn double(&mut self) -> String {
        match self.below(20) {
            0 => self
                .choose(&["inf", "-inf", "+Inf", "infinity", "-INFINITY"])
                .to_owned(),
            1 => self
                .choose(&["nan", "x", "", "1e", "1.5.5", " 1", "1 ", "0x", "--1"])
                .to_owned(),
            2 => self
                .choose(&["0x1p3", "-0x.8", "1e400", "-1e308", "1e-320", "-0", "+5."])
                .into(),
            3 => format!("{}e{}", self.below(1000), self.below(40) as i64 - 20),
            4 => format!("{}", self.below(1 << 60)),
            5..=9 => format!("{}.{}", self.below(100), self.below(100_000)),
            10..=12 => format!("-{}.5", self.below(100)),
            _ => self.below(100).to_string(),
        }
    }

    fn score_bound(&mut self) -> String {
        let number = match self.below(12) {
            0 => "-inf".to_owned(),
            1 => "+inf".to_owned(),
            2 => self
                .choose(&["x", "", " 3", "3 ", "nan", "1e400", "0x10", "("])
                .to_owned(),
            3..=6 => self.double(),
            _ => self.integer(),
        };
        if self.one_in(3) {
            format!("({number}")
        } else {
            number
        }
    }

    fn lex_bound(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 | 1 => b"-".to_vec(),
            2 | 3 => b"+".to_vec(),
            4 => self
                .choose(&["x", "", "+x", "[", "(", "-1"])
                .as_bytes()
                .to_vec(),
            5..=8 => [b"[".to_vec(), self.member()].concat(),
            _ => [b"(".to_vec(), self.member()].concat(),
        }
    }

    /// An ID that is mostly greater than all before.
    fn new_id(&mut self) -> String {
        if self.one_in(20) {
            return self.id();
        }
        self.ms += self.below(3);
        let sequence = self.below(5);
        if sequence == 0 {
            format!("{}-*", self.ms)
        } else {
            format!("{}-{sequence}", self.ms)
        }
    }

    fn id(&mut self) -> String {
        match self.below(80) {
            0 => self
                .choose(&["x", "", "5-", "-", "+", "$", "0-0", "-1", " 7", "3-x", "*"])
                .to_owned(),
            1 => "18446744073709551614-18446744073709551615".to_owned(),
            2..=9 => "0".to_owned(),
            // Those of the last ones, which are likely to be there still.
            near => {
                let back = self.below(if near % 2 == 0 { 20 } else { 2 * self.ms });
                let ms = self.ms.saturating_sub(back);
                if near % 4 == 0 {
                    ms.to_string()
                } else {
                    format!("{ms}-{}", self.below(5))
                }
            }
        }
    }

    fn id_bound(&mut self) -> String {
        match self.below(6) {
            0 => "-".to_owned(),
            1 => "+".to_owned(),
            2 => format!("({}", self.id()),
            _ => self.id(),
        }
    }
}
