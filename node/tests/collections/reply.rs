//! A reply as a tree, to be compared without regard to order.

use slotway_protocol::resp::value::{Token, TokenReader};

/// A reply. Maps and sets are flat lists of their elements.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reply {
    Null,
    Text(Vec<u8>),
    Many(Vec<Self>),
}

impl Reply {
    /// The one reply in `bytes`.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut reader = TokenReader::new(bytes);
        let reply = Self::read(&mut reader);
        assert_eq!(reader.next_token(), Ok(None), "there is just one reply");
        reply
    }

    fn read(reader: &mut TokenReader<'_>) -> Self {
        let token = reader
            .next_token()
            .ok()
            .flatten()
            .expect("the reply is whole");
        let len = match token {
            Token::Null => return Self::Null,
            Token::Integer(number) => return Self::Text(number.to_string().into_bytes()),
            Token::Simple(text) | Token::Bulk(text) | Token::Double(text) | Token::Error(text) => {
                return Self::Text(text.to_vec());
            }
            Token::Array(len) | Token::Set(len) => len,
            Token::Map(pairs) => pairs * 2,
            other => panic!("no command on collections replies with {other:?}"),
        };
        Self::Many((0..len).map(|_| Self::read(reader)).collect())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(_) => 1,
            Self::Many(elements) => elements.len(),
        }
    }

    /// Whether no element is a list.
    pub(crate) fn is_flat(&self) -> bool {
        match self {
            Self::Many(elements) => !elements.iter().any(|e| matches!(e, Self::Many(_))),
            _ => true,
        }
    }

    /// The same with groups of so many elements in order, at every level.
    pub(crate) fn sorted(&self, group: usize) -> Self {
        let Self::Many(elements) = self else {
            return self.clone();
        };
        let elements: Vec<Self> = elements.iter().map(|e| e.sorted(group)).collect();
        // The cursor of a scan stays in front.
        if let [Self::Text(_), Self::Many(_)] = &elements[..] {
            return Self::Many(elements);
        }
        let mut groups: Vec<&[Self]> = elements.chunks(group).collect();
        groups.sort();
        Self::Many(groups.concat())
    }

    /// The same without what clocks say in a reply about what is pending.
    pub(crate) fn timeless(&self) -> Self {
        let Self::Many(elements) = self else {
            return self.clone();
        };
        let text = |index: usize| match elements.get(index) {
            Some(Self::Text(text)) => &text[..],
            _ => b"",
        };
        let is_id = |text: &[u8]| text.contains(&b'-') && text[0].is_ascii_digit();
        let masked = elements.iter().enumerate().map(|(index, element)| {
            let is_time = match elements.len() {
                _ if index > 0 && matches!(text(index - 1), b"idle" | b"seen-time") => true,
                3 => index == 1 && is_id(text(0)) && !text(2).is_empty(),
                4 => index == 2 && is_id(text(0)),
                _ => false,
            };
            if is_time {
                Self::Null
            } else {
                element.timeless()
            }
        });
        Self::Many(masked.collect())
    }

    /// Lengths only.
    pub(crate) fn shape(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Text(_) => "text".to_owned(),
            Self::Many(elements) => {
                let shapes: Vec<String> = elements.iter().map(Self::shape).collect();
                format!("[{}]", shapes.join(" "))
            }
        }
    }

    /// The texts of every `step`-th element, or the first text in it.
    pub(crate) fn first_strings(&self, step: usize) -> Vec<Vec<u8>> {
        match self {
            Self::Null => Vec::new(),
            Self::Text(text) => vec![text.clone()],
            Self::Many(elements) => {
                let elements = elements.iter().step_by(step);
                elements
                    .flat_map(|e| e.first_strings(1).into_iter().take(1))
                    .collect()
            }
        }
    }
}
