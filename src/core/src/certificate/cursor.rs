//! Reads a certificate's fields one by one, for the lints: shares no code with what wrote them.

use super::lint::{Check, LintError, ensure};

/// What is read, and how far.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn take(&mut self, count: usize) -> Check<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or(LintError("a length overflows"))?;
        let taken = self.bytes.get(self.at..end).ok_or(LintError("it is cut short"))?;
        self.at = end;
        Ok(taken)
    }

    pub(super) fn word(&mut self) -> Check<u32> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)))
    }

    pub(super) fn number(&mut self) -> Check<u64> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
    }

    pub(super) fn field(&mut self) -> Check<&'a [u8]> {
        let length = self.word()?;
        self.take(usize::try_from(length).map_err(|_| LintError("a length overflows"))?)
    }
}

/// The certificate's type and key fields must be those of the key asked for.
pub(super) fn check_key(kind: &[u8], cursor: &mut Cursor<'_>, key_blob: &[u8]) -> Check {
    let mut key = Cursor::new(key_blob);
    let key_kind = key.field()?;
    let plain: Vec<u8> = match key_kind.strip_suffix(b"@openssh.com") {
        Some(stem) => stem.to_vec(),
        None => key_kind.to_vec(),
    };
    ensure(
        kind.strip_suffix(b"-cert-v01@openssh.com") == Some(plain.as_slice()),
        "the type does not fit the key",
    )?;
    let fields = key_blob.get(key.at..).unwrap_or_default();
    ensure(cursor.take(fields.len())? == fields, "the key is not the one asked for")
}
