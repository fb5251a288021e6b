//! [`Lines`], which finds lines in blocks of bytes.

/// The longest line that is looked for, in bytes. No server takes a message as large; without a limit, a file
/// without a "\n" would fill the memory.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;

/// Finds the lines in a row of blocks, whatever the blocks' borders. A line is lent without its "\n"; every other
/// byte is kept.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// What is not handed out begins at `start`, and has no "\n" before `scanned`.
    buffer: Vec<u8>,
    start: usize,
    scanned: usize,
}

/// A line grew over [`LINE_BYTES_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LineTooLong;

impl Lines {
    /// Takes in the next block, after all lines of the one before were handed out.
    pub(crate) fn push(&mut self, block: &[u8]) -> Result<(), LineTooLong> {
        self.buffer.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.buffer.len() > LINE_BYTES_MAX {
            return Err(LineTooLong);
        }
        self.buffer.extend_from_slice(block);
        Ok(())
    }

    /// The next whole line.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        let Some(len) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.buffer.len();
            return None;
        };
        let line = self.start..self.scanned + len;
        self.start = line.end + 1;
        self.scanned = self.start;
        Some(&self.buffer[line])
    }

    /// The last line, which has no "\n"; after the last block. A "\n" at the end of the input begins no line.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        Some(&self.buffer[self.start..]).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `input` when it comes in blocks of `block_len`.
    fn lines(input: &[u8], block_len: usize) -> Vec<Vec<u8>> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for block in input.chunks(block_len) {
            lines.push(block).unwrap();
            while let Some(line) = lines.next() {
                found.push(line.to_vec());
            }
        }
        found.extend(lines.last().map(<[u8]>::to_vec));
        found
    }

    #[test]
    fn lines_keep_every_byte_but_the_newline() {
        for (input, expected) in [
            (&b""[..], vec![]),
            (b"\n", vec![&b""[..]]),
            (b"a", vec![b"a"]),
            (b"a\n", vec![b"a"]),
            (b"a\r\n\n\0\xff\nb", vec![b"a\r", b"", b"\0\xff", b"b"]),
            (b"\n\n", vec![b"", b""]),
        ] {
            for block_len in 1..=input.len().max(1) {
                assert_eq!(lines(input, block_len), expected, "{input:?} in blocks of {block_len}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let block = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
        for _ in 0..2 {
            lines.push(&block).unwrap();
            assert_eq!(lines.next(), None);
        }
        assert_eq!(lines.push(&block), Err(LineTooLong));
    }
}
