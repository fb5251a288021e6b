//! [`Framing`]: where messages begin and end in the body of a gRPC request, and how much of one is free.
//!
//! ```text
//!   message = compressed (1 byte) | length (4 bytes, big-endian) | that many bytes
//! ```
//!
//! Source: gRPC over HTTP2, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Nothing is decoded
//! here, and nothing refused: that is tonic's.

/// Bytes in front of each message.
const PREFIX_LEN: usize = 5;

/// A place in a body.
#[derive(Debug)]
pub(super) struct Framing {
    free_max: usize,
    message_max: usize,
    prefix: [u8; PREFIX_LEN],
    prefix_len: usize,
    /// Bytes of the message that are to come.
    left: usize,
    /// How many of them may pass without leave.
    free: usize,
    len: usize,
}

impl Framing {
    /// At the start of a body. Messages of more than `free_max` bytes need leave to pass, but not those of
    /// more than `message_max`: they are refused by their prefix, and nobody collects their bytes.
    pub(super) fn new(free_max: usize, message_max: usize) -> Framing {
        Framing { free_max, message_max, prefix: [0; PREFIX_LEN], prefix_len: 0, left: 0, free: 0, len: 0 }
    }

    /// How many bytes of `data`, which come next, may pass; they are passed with that. Fewer than there are
    /// when a message begins which needs [leave](Framing::give_leave).
    pub(super) fn pass(&mut self, data: &[u8]) -> usize {
        let mut passed = 0;
        while passed < data.len() {
            let rest = &data[passed..];
            if self.left == 0 {
                passed += self.take_prefix(rest);
                continue;
            }
            let taken = rest.len().min(self.free);
            if taken == 0 {
                break;
            }
            self.left -= taken;
            self.free -= taken;
            passed += taken;
        }
        passed
    }

    fn take_prefix(&mut self, data: &[u8]) -> usize {
        let taken = data.len().min(PREFIX_LEN - self.prefix_len);
        self.prefix[self.prefix_len..][..taken].copy_from_slice(&data[..taken]);
        self.prefix_len += taken;
        if self.prefix_len == PREFIX_LEN {
            let [_, len @ ..] = self.prefix;
            self.prefix_len = 0;
            self.len = u32::from_be_bytes(len) as usize;
            self.left = self.len;
            let is_bounded = self.free_max < self.len && self.len <= self.message_max;
            self.free = if is_bounded { self.free_max } else { self.len };
        }
        taken
    }

    /// Length of the message under way, without its prefix.
    pub(super) fn message_len(&self) -> usize {
        self.len
    }

    /// Lets the message under way pass.
    pub(super) fn give_leave(&mut self) {
        self.free = self.left;
    }

    /// Whether the last message is complete.
    pub(super) fn is_between_messages(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(len.to_be_bytes());
        bytes.resize(PREFIX_LEN + len as usize, 7);
        bytes
    }

    #[test]
    fn only_messages_that_are_large_and_allowed_need_leave() {
        let (small, large, refused) = (message(10), message(50), message(101));
        let body = [&small[..], &message(0), &large, &small, &refused, &small].concat();
        for step in 1..body.len() {
            let mut framing = Framing::new(10, 100);
            let mut passed = 0;
            let mut stops = Vec::new();
            while passed < body.len() {
                let data = &body[passed..body.len().min(passed + step)];
                match framing.pass(data) {
                    0 => {
                        stops.push((passed, framing.message_len()));
                        framing.give_leave();
                    }
                    some => passed += some,
                }
            }
            // In the large one, behind what is free.
            assert_eq!(stops, [(15 + 5 + 5 + 10, 50)], "in steps of {step}");
            assert!(framing.is_between_messages());
        }
    }
}
