//! JSON as values of Lua.

use mlua::{Lua, Value};

use super::super::errors;
use super::Settings;

pub(super) fn decode(lua: &Lua, text: &[u8], settings: &Settings) -> mlua::Result<Value> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        let why = "JSON parser does not support UTF-16 or UTF-32";
        return Err(errors::text(lua, why));
    }
    let mut reader = Reader {
        lua,
        text,
        position: 0,
        depth: 0,
        settings,
    };
    let first = reader.next();
    let value = reader.value(first)?;
    match reader.next() {
        (Token::End, _) => Ok(value),
        other => Err(reader.unexpected("the end", &other)),
    }
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    position: usize,
    depth: i64,
    settings: &'a Settings,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

/// With where it begins.
type Placed = (Token, usize);

impl Reader<'_> {
    fn value(&mut self, (token, place): Placed) -> mlua::Result<Value> {
        Ok(match token {
            Token::Text(text) => Value::String(self.lua.create_string(text)?),
            Token::Number(number) => Value::Number(number),
            Token::Boolean(value) => Value::Boolean(value),
            Token::Null => Value::NULL,
            Token::ObjectBegin => self.object()?,
            Token::ArrayBegin => self.array()?,
            other => return Err(self.unexpected("value", &(other, place))),
        })
    }

    fn descend(&mut self) -> mlua::Result<()> {
        self.depth += 1;
        if self.depth > self.settings.decode_depth_max.get() || self.depth > DEPTH_MAX {
            let why = format!("Found too many nested data structures ({})", self.depth);
            return Err(errors::text(self.lua, &why));
        }
        Ok(())
    }

    fn object(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let object = self.lua.create_table()?;
        let mut token = self.next();
        if token.0 == Token::ObjectEnd {
            self.depth -= 1;
            return Ok(Value::Table(object));
        }
        loop {
            let (Token::Text(key), _) = token else {
                return Err(self.unexpected("object key string", &token));
            };
            token = self.next();
            if token.0 != Token::Colon {
                return Err(self.unexpected("colon", &token));
            }
            let first = self.next();
            object.raw_set(self.lua.create_string(key)?, self.value(first)?)?;
            token = self.next();
            match token.0 {
                Token::ObjectEnd => break,
                Token::Comma => token = self.next(),
                _ => return Err(self.unexpected("comma or object end", &token)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(object))
    }

    fn array(&mut self) -> mlua::Result<Value> {
        self.descend()?;
        let array = self.lua.create_table()?;
        let mut token = self.next();
        if token.0 == Token::ArrayEnd {
            self.depth -= 1;
            return Ok(Value::Table(array));
        }
        for index in 1_i64.. {
            array.raw_set(index, self.value(token)?)?;
            token = self.next();
            match token.0 {
                Token::ArrayEnd => break,
                Token::Comma => token = self.next(),
                _ => return Err(self.unexpected("comma or array end", &token)),
            }
        }
        self.depth -= 1;
        Ok(Value::Table(array))
    }

    fn unexpected(&self, expected: &str, (token, place): &Placed) -> mlua::Error {
        let found = match token {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Wrong(what) => what,
        };
        let character = place + 1;
        let message = format!("Expected {expected} but found {found} at character {character}");
        errors::text(self.lua, &message)
    }

    fn next(&mut self) -> Placed {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.position) {
            self.position += 1;
        }
        let start = self.position;
        let rest = &self.text[start..];
        let Some(&first) = rest.first() else {
            return (Token::End, start);
        };
        let (token, len) = match first {
            b'{' => (Token::ObjectBegin, 1),
            b'}' => (Token::ObjectEnd, 1),
            b'[' => (Token::ArrayBegin, 1),
            b']' => (Token::ArrayEnd, 1),
            b':' => (Token::Colon, 1),
            b',' => (Token::Comma, 1),
            b'"' => return self.string(start),
            b'-' | b'0'..=b'9' => self.number(rest),
            _ if rest.starts_with(b"true") => (Token::Boolean(true), 4),
            _ if rest.starts_with(b"false") => (Token::Boolean(false), 5),
            _ if rest.starts_with(b"null") => (Token::Null, 4),
            _ if self.settings.decode_invalid.get() && is_unusual(rest) => self.number(rest),
            _ => (Token::Wrong("invalid token"), 0),
        };
        self.position += len;
        (token, start)
    }

    fn number(&self, rest: &[u8]) -> (Token, usize) {
        let wrong = (Token::Wrong("invalid number"), 0);
        if !self.settings.decode_invalid.get() && is_unusual(rest) {
            return wrong;
        }
        let (sign, digits) = match rest.split_first() {
            Some((b'-', digits)) => (-1.0, digits),
            Some((b'+', digits)) => (1.0, digits),
            _ => (1.0, rest),
        };
        let before = rest.len() - digits.len();
        if digits.len() > 2 && digits[..2].eq_ignore_ascii_case(b"0x") {
            let hexadecimal = digits[2..]
                .iter()
                .take_while(|byte| byte.is_ascii_hexdigit());
            let (mut number, mut len) = (0.0, 0);
            for &byte in hexadecimal {
                number = number * 16.0 + f64::from(char::from(byte).to_digit(16).unwrap_or(0));
                len += 1;
            }
            return (Token::Number(sign * number), before + 2 + len);
        }
        for (word, number) in [
            (&b"infinity"[..], f64::INFINITY),
            (b"inf", f64::INFINITY),
            (b"nan", f64::NAN),
        ] {
            if digits.len() >= word.len() && digits[..word.len()].eq_ignore_ascii_case(word) {
                return (Token::Number(sign * number), before + word.len());
            }
        }
        let len = decimal_len(digits);
        let text = core::str::from_utf8(&digits[..len]).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(number) => (Token::Number(sign * number), before + len),
            Err(_) => wrong,
        }
    }

    fn string(&mut self, start: usize) -> Placed {
        let mut text = Vec::new();
        let mut position = start + 1;
        loop {
            let Some(&byte) = self.text.get(position) else {
                return (Token::Wrong("unexpected end of string"), position);
            };
            match byte {
                b'"' => break,
                b'\\' => match self.escape(position, &mut text) {
                    Ok(len) => position += len,
                    Err(what) => return (Token::Wrong(what), position),
                },
                _ => {
                    text.push(byte);
                    position += 1;
                }
            }
        }
        self.position = position + 1;
        (Token::Text(text), start)
    }

    /// Appends what an escape stands for; how long it is.
    fn escape(&self, position: usize, text: &mut Vec<u8>) -> Result<usize, &'static str> {
        let plain = match self.text.get(position + 1) {
            Some(b'u') => return self.code_point(position, text),
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            _ => return Err("invalid escape code"),
        };
        text.push(plain);
        Ok(2)
    }

    fn code_point(&self, position: usize, text: &mut Vec<u8>) -> Result<usize, &'static str> {
        let wrong = "invalid unicode escape code";
        let high = self.unit(position).ok_or(wrong)?;
        let (code, len) = match high {
            0xdc00..0xe000 => return Err(wrong),
            0xd800..0xdc00 => {
                let low = self.unit(position + 6).ok_or(wrong)?;
                let low = low
                    .checked_sub(0xdc00)
                    .filter(|low| *low < 0x400)
                    .ok_or(wrong)?;
                (0x1_0000 + (high - 0xd800) * 0x400 + low, 12)
            }
            code => (code, 6),
        };
        let character = char::from_u32(code).ok_or(wrong)?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(len)
    }

    /// The number in an escape `\u0041` at that place.
    fn unit(&self, position: usize) -> Option<u32> {
        let escape = self.text.get(position..position + 6)?;
        let digits = core::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_number.then(|| u32::from_str_radix(digits, 16).ok())?
    }
}

/// How long the decimal number at the front is.
fn decimal_len(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text[from..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut len = digits(0);
    if text.get(len) == Some(&b'.') {
        len += 1 + digits(len + 1);
    }
    if let Some(b'e' | b'E') = text.get(len) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'+' | b'-')));
        let exponent = len + 1 + sign;
        if exponent < text.len() && digits(exponent) > 0 {
            len = exponent + digits(exponent);
        }
    }
    len
}

/// Whether it is a number that JSON does not have, as infinity or one that begins with a zero.
fn is_unusual(text: &[u8]) -> bool {
    let unsigned = match text.first() {
        Some(b'+') => return true,
        Some(b'-') => &text[1..],
        _ => text,
    };
    match unsigned.first() {
        Some(b'0') => matches!(unsigned.get(1), Some(b'x' | b'X' | b'0'..=b'9')),
        Some(b'1'..=b'9') | None => false,
        Some(_) => [&b"inf"[..], b"nan"].iter().any(|word| {
            unsigned.len() >= word.len() && unsigned[..word.len()].eq_ignore_ascii_case(word)
        }),
    }
}

/// However deep scripts want it, the stack has an end.
const DEPTH_MAX: i64 = 5000;
