//! Messages that tell whether any of them was lost, doubled, swapped or changed.
//!
//! ```text
//!    0  u64  run        tells the messages of this run from all others
//!    8  u32  stream     one producer sends it, to one partition
//!   12  u64  sequence   0, 1, 2... in its stream
//!   20  u64  due        nanoseconds from the start of the run
//!   28  u64  chain      hash of the chain before and of all the rest of this message
//!   36       filler     incompressible
//! ```
//!
//! All big-endian. The hash is XXH3 with 64 bits, which finds accidents, not forgeries.

use bytes::{BufMut as _, Bytes, BytesMut};
use minikafka_client_connection::GRPC_MESSAGE_BYTES_MAX;
use twox_hash::XxHash3_64;

/// The smallest message.
pub(super) const LEN_MIN: usize = 36;
/// No request has room for a larger one.
pub(super) const LEN_MAX: usize = GRPC_MESSAGE_BYTES_MAX;
const CHAIN: usize = 28;
/// Filler begins somewhere in so many bytes, and messages differ.
const FILLER_SHIFTS: usize = 4096;

/// Writes the messages of one stream.
#[derive(Debug)]
pub(super) struct Writer {
    run: u64,
    stream: u32,
    next: u64,
    chain: u64,
    len: usize,
    filler: Bytes,
    out: BytesMut,
}

impl Writer {
    pub(super) fn new(run: u64, stream: u32, len: usize) -> Writer {
        let filler = filler(run, len + FILLER_SHIFTS);
        Writer { run, stream, next: 0, chain: run, len: len.max(LEN_MIN), filler, out: BytesMut::new() }
    }

    /// A writer of another stream, which shares what all have in common.
    pub(super) fn beside(&self, stream: u32) -> Writer {
        let Writer { run, len, ref filler, .. } = *self;
        Writer { run, stream, next: 0, chain: run, len, filler: filler.clone(), out: BytesMut::new() }
    }

    /// The next message, due so many nanoseconds after the start of the run.
    pub(super) fn next(&mut self, due_nanos: u64) -> &[u8] {
        self.out.clear();
        self.out.put_u64(self.run);
        self.out.put_u32(self.stream);
        self.out.put_u64(self.next);
        self.out.put_u64(due_nanos);
        self.out.put_u64(0);
        let from = self.next as usize % FILLER_SHIFTS;
        self.out.put_slice(&self.filler[from..from + self.len - LEN_MIN]);
        self.chain = link(self.chain, &self.out);
        self.out[CHAIN..LEN_MIN].copy_from_slice(&self.chain.to_be_bytes());
        self.next += 1;
        &self.out
    }
}

/// Bytes of a generator, xorshift64*: no codec makes them smaller.
fn filler(seed: u64, len: usize) -> Bytes {
    let mut state = seed | 1;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
    });
    words.collect()
}

fn link(before: u64, message: &[u8]) -> u64 {
    let head = XxHash3_64::oneshot_with_seed(before, &message[..CHAIN]);
    XxHash3_64::oneshot_with_seed(head, &message[LEN_MIN..])
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) sequence: u64,
    /// Nanoseconds from the start of the run.
    pub(super) due: u64,
    pub(super) chain: u64,
}

impl Link {
    /// `None` for a message of another run or stream.
    pub(super) fn parse(run: u64, stream: u32, message: &[u8]) -> Option<Link> {
        let of = (u64_at(message, 0)?, u32::from_be_bytes(field(message, 8)?));
        let (sequence, due, chain) = (u64_at(message, 12)?, u64_at(message, 20)?, u64_at(message, CHAIN)?);
        (of == (run, stream)).then_some(Link { sequence, due, chain })
    }

    /// Whether the message has the bytes that it was sent with, when the chain before it was this.
    pub(super) fn follows(&self, before: u64, message: &[u8]) -> bool {
        self.chain == link(before, message)
    }
}

/// What reading back has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Verdict {
    /// Messages that came as they were sent, each once and in order.
    pub(super) sound: u64,
    /// Messages that did not come.
    pub(super) lost: u64,
    /// Messages that came again, or late.
    pub(super) repeated: u64,
    /// Messages with other bytes than were sent.
    pub(super) changed: u64,
}

impl Verdict {
    pub(super) fn is_sound(&self) -> bool {
        self.lost + self.repeated + self.changed == 0
    }

    pub(super) fn add(&mut self, other: Verdict) {
        self.sound += other.sound;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.changed += other.changed;
    }
}

/// Checks the messages of one stream.
#[derive(Debug)]
pub(super) struct Reader {
    run: u64,
    stream: u32,
    next: u64,
    chain: u64,
    verdict: Verdict,
}

impl Reader {
    pub(super) fn new(run: u64, stream: u32) -> Reader {
        Reader { run, stream, next: 0, chain: run, verdict: Verdict::default() }
    }

    /// Takes a message, which may be of another run or stream. Says when it was due, if it was one of these.
    pub(super) fn take(&mut self, message: &[u8]) -> Option<u64> {
        let link = Link::parse(self.run, self.stream, message)?;
        let Link { sequence, due, chain } = link;
        if sequence < self.next {
            self.verdict.repeated += 1;
            return Some(due);
        }
        let lost = sequence - self.next;
        self.verdict.lost += lost;
        // Behind a gap the chain cannot be told, and is believed.
        let is_sound = lost > 0 || link.follows(self.chain, message);
        *(if is_sound { &mut self.verdict.sound } else { &mut self.verdict.changed }) += 1;
        (self.next, self.chain) = (sequence + 1, chain);
        Some(due)
    }

    /// Sequence of the message that is to come.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The verdict on a stream of `count` messages.
    pub(super) fn end(mut self, count: u64) -> Verdict {
        self.verdict.lost += count.saturating_sub(self.next);
        self.verdict
    }
}

fn u64_at(message: &[u8], at: usize) -> Option<u64> {
    field(message, at).map(u64::from_be_bytes)
}

fn field<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(count: usize) -> Vec<Vec<u8>> {
        let mut writer = Writer::new(7, 1, 50);
        (0..count as u64).map(|due| writer.next(due).to_vec()).collect()
    }

    fn verdict(messages: &[Vec<u8>], count: u64) -> Verdict {
        let mut reader = Reader::new(7, 1);
        messages.iter().for_each(|message| _ = reader.take(message));
        reader.end(count)
    }

    #[test]
    fn what_comes_as_it_was_sent_is_sound() {
        let sent = messages(10_000);
        assert_eq!(verdict(&sent, 10_000), Verdict { sound: 10_000, ..Verdict::default() });
        assert_eq!(Reader::new(7, 1).take(&sent[3]), Some(3));
    }

    #[test]
    fn every_accident_is_seen() {
        let sent = messages(10);
        let mut without_one = sent.clone();
        without_one.remove(4);
        assert_eq!(verdict(&without_one, 10), Verdict { sound: 9, lost: 1, ..Verdict::default() });
        assert_eq!(verdict(&sent[..7], 10), Verdict { sound: 7, lost: 3, ..Verdict::default() });
        let mut with_one_again = sent.clone();
        with_one_again.insert(5, sent[2].clone());
        assert_eq!(verdict(&with_one_again, 10), Verdict { sound: 10, repeated: 1, ..Verdict::default() });
        let mut swapped = sent.clone();
        swapped.swap(4, 5);
        assert!(!verdict(&swapped, 10).is_sound());
        for at in [20, CHAIN, LEN_MIN, 49] {
            let mut changed = sent.clone();
            changed[4][at] ^= 1;
            assert!(verdict(&changed, 10).changed > 0, "byte {at}");
        }
    }

    #[test]
    fn other_runs_and_streams_are_none_of_its_business() {
        let mut reader = Reader::new(7, 2);
        assert_eq!(reader.take(&messages(1)[0]), None);
        assert_eq!(reader.take(b"short"), None);
        assert_eq!(reader.end(0), Verdict::default());
    }
}
