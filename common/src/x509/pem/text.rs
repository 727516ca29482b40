//! The text of a PEM file, read from its start, with the number of the current line.

/// They surround the label of a section.
pub(super) const HYPHENS: &[u8] = b"-----";

/// What is left of a text, and the line in which it begins.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) rest: &'a [u8],
    pub(super) line: usize,
}

impl<'a> Text<'a> {
    pub(super) fn skip(&mut self, count: usize) {
        let (skipped, rest) = self.rest.split_at(count);
        self.line += skipped.iter().filter(|byte| **byte == b'\n').count();
        self.rest = rest;
    }

    /// What comes before these bytes, which come next then.
    pub(super) fn take_until(&mut self, bytes: &[u8]) -> Option<Self> {
        let end = find(self.rest, bytes)?;
        let before = Self { rest: &self.rest[..end], line: self.line };
        self.skip(end);
        Some(before)
    }

    /// The rest of a BEGIN or END line, with its hyphens.
    pub(super) fn take_label(&mut self) -> Option<String> {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let line_end = self.rest.iter().position(is_end).unwrap_or(self.rest.len());
        let Some(length) = find(&self.rest[..line_end], HYPHENS) else {
            self.skip(line_end);
            return None;
        };
        let label = String::from_utf8_lossy(&self.rest[..length]).trim().to_owned();
        self.skip(length + HYPHENS.len());
        Some(label)
    }
}

/// Where these bytes begin first.
pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
