//! Reading and writing the fields of a message: numbers with the highest byte first, and texts of
//! a fixed length that end with zeros.

use super::packet::PacketError;

/// What is left to read of a message. Nothing is read before its length is known to suffice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], PacketError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(PacketError::Length)?;
        self.0 = rest;
        Ok(array)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], PacketError> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(PacketError::Length)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, PacketError> {
        Ok(u8::from_be_bytes(*self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, PacketError> {
        Ok(u16::from_be_bytes(*self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, PacketError> {
        Ok(u32::from_be_bytes(*self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, PacketError> {
        Ok(u64::from_be_bytes(*self.array()?))
    }

    /// A node's id.
    pub(super) fn id(&mut self) -> Result<String, PacketError> {
        self.optional_id()?.ok_or(PacketError::Id)
    }

    /// A node's id, or zeros for none.
    pub(super) fn optional_id(&mut self) -> Result<Option<String>, PacketError> {
        let bytes: &[u8; ID_BYTES] = self.array()?;
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if !bytes.iter().all(u8::is_ascii_hexdigit) {
            return Err(PacketError::Id);
        }
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// An address; empty for one that is to be taken from the connection.
    pub(super) fn host(&mut self) -> Result<String, PacketError> {
        text(self.array::<HOST_BYTES>()?)
    }
}

/// The text in front of the first zero. It ends up in lines that others read, so it has no
/// characters that mean something there.
pub(super) fn text(bytes: &[u8]) -> Result<String, PacketError> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let bytes = &bytes[..end.unwrap_or(bytes.len())];
    let fits = |byte: &u8| byte.is_ascii_graphic() && !b",@=\"".contains(byte);
    if !bytes.iter().all(fits) {
        return Err(PacketError::Text);
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// Appends a text and zeros up to a length; what does not fit is cut off.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str, len: usize) {
    let end = out.len() + len;
    out.extend_from_slice(&text.as_bytes()[..text.len().min(len)]);
    out.resize(end, 0);
}

pub(super) const ID_BYTES: usize = 40;
pub(super) const HOST_BYTES: usize = 46;
