//! The agent's encoding (RFC 4251, section 5): lengths of 32 bits, strings, numbers.

use zeroize::Zeroizing;

/// Writes one message. Its buffer is wiped: it may hold a private key.
#[derive(Default)]
pub(super) struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// A message of this kind.
    pub(super) fn message(kind: u8) -> Writer {
        let mut out = Writer::default();
        // A buffer that grows leaves copies behind unwiped: this is enough for any key.
        out.0.reserve(32 << 10);
        out.byte(kind);
        out
    }

    pub(super) fn byte(&mut self, value: u8) -> &mut Writer {
        self.0.push(value);
        self
    }

    pub(super) fn u32(&mut self, value: u32) -> &mut Writer {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(super) fn string(&mut self, bytes: &[u8]) -> &mut Writer {
        self.u32(u32::try_from(bytes.len()).expect("a part of a message has less than 4 GiB"));
        self.0.extend_from_slice(bytes);
        self
    }

    /// A positive number, most significant byte first.
    pub(super) fn mpint(&mut self, bytes: &[u8]) -> &mut Writer {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let digits = bytes.get(zeros..).unwrap_or_default();
        // A leading bit would be a sign.
        let sign = digits.first().is_some_and(|byte| byte & 0x80 != 0);
        let number = Zeroizing::new([vec![0; usize::from(sign)], digits.to_vec()].concat());
        self.string(&number)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Reads one message; every step fails on a short input.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
