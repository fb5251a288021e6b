//! What is read, when, and into which memory.

use super::*;

fn incoming() -> Arc<Incoming> {
    Arc::new(Incoming::new(Spares::default()))
}

fn frames(bytes: &[u8]) -> Frames<&[u8]> {
    Frames::new(bytes, incoming())
}

async fn offence(bytes: &[u8]) -> Offence {
    match frames(bytes).next().await {
        Err(FrameError::Offence(offence)) => offence,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_come_one_after_the_other() {
    let mut two = frames(b"\0\0\0\x03\0\x12a\0\0\0\x02\0\x12");
    for expected in [&b"\0\x12a"[..], b"\0\x12"] {
        assert!(two.begins().await.unwrap());
        assert_eq!(two.next().await.unwrap().bytes, expected);
    }
    assert!(!two.begins().await.unwrap());
}

/// A client that sends small frames of one length, one at a time.
struct SmallFrames {
    client: tokio::io::DuplexStream,
    frames: Frames<tokio::io::DuplexStream>,
}

impl SmallFrames {
    const LEN: usize = 1100;

    fn new() -> SmallFrames {
        let (client, server) = tokio::io::duplex(4096);
        SmallFrames { client, frames: Frames::new(server, incoming()) }
    }

    async fn next(&mut self) -> Bytes {
        let mut sent = [0; SmallFrames::LEN];
        let len = (sent.len() - PREFIX_LEN) as u32;
        sent[..PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
        tokio::io::AsyncWriteExt::write_all(&mut self.client, &sent).await.unwrap();
        assert!(self.frames.begins().await.unwrap());
        self.frames.next().await.unwrap().bytes
    }
}

#[tokio::test]
async fn small_frames_share_an_allocation() {
    let mut client = SmallFrames::new();
    let mut kept = Vec::new();
    for _ in 0..4 * FRAMES_AT_ONCE {
        kept.push(client.next().await);
    }
    let is_behind = |pair: &[Bytes]| pair[0].as_ptr_range().end.wrapping_add(PREFIX_LEN) == pair[1].as_ptr();
    let shared = kept.windows(2).filter(|pair| is_behind(pair)).count();
    assert!(shared >= 2 * FRAMES_AT_ONCE, "only {shared} of {} lie behind another", kept.len());
}

#[tokio::test]
async fn memory_whose_frames_are_gone_is_used_again() {
    let mut client = SmallFrames::new();
    let mut places = std::collections::BTreeSet::new();
    let mut last = None;
    // What is given back to the allocator is somebody else's then.
    let mut others = Vec::new();
    for _ in 0..100 * FRAMES_AT_ONCE {
        others.push(Vec::<u8>::with_capacity(FRAMES_AT_ONCE * SmallFrames::LEN));
        let frame = client.next().await;
        places.insert(frame.as_ptr().addr());
        // Whoever sends one at a time has the last one under way when room is made for the next.
        last = Some(frame);
    }
    drop(last);
    assert!(places.len() <= 4 * FRAMES_AT_ONCE, "800 frames lay in {} places", places.len());
}

#[tokio::test]
async fn a_large_frame_is_the_only_holder_of_its_bytes() {
    for len in [LARGE_BYTES + 1, 1_200_000, 3_500_000] {
        let large = [&(len as u32).to_be_bytes()[..], &vec![0; len]].concat();
        // Small ones before it, and the next ones right behind it.
        let sent = [&b"\0\0\0\x03\0\x12a"[..], &large, &large, &large].concat();
        let mut frames = frames(&sent);
        let mut spare = Vec::new();
        for wanted in [3, len, len, len] {
            assert!(frames.begins().await.unwrap());
            let bytes = frames.next().await.unwrap().bytes;
            assert_eq!(bytes.len(), wanted);
            spare.push(bytes.try_into_mut().map(|own| own.capacity() - own.len()));
        }
        // Of the first nobody knows whether all of it will come.
        assert!(spare[1].is_ok(), "{len}: {spare:?}");
        let is_slight = |spare: &Result<usize, Bytes>| spare.as_ref().is_ok_and(|spare| *spare <= len / 32);
        assert!(spare[2..].iter().all(is_slight), "{len}: {spare:?}");
    }
}

#[tokio::test]
async fn behind_a_large_frame_no_more_than_a_head_is_read_before_there_is_room_for_the_next() {
    let large = [&100_000u32.to_be_bytes()[..], &vec![0; 100_000]].concat();
    let small = [&900u32.to_be_bytes()[..], &[0; 900]].concat();
    let sent = [&large[..], &large, &small, &small, &large].concat();
    let mut frames = frames(&sent);
    let (mut heads, mut lens) = (Vec::new(), Vec::new());
    while frames.begins().await.unwrap() {
        heads.push(frames.buffer.len());
        lens.push(frames.next().await.unwrap().bytes.len());
    }
    assert_eq!(lens, [100_000, 100_000, 900, 900, 100_000]);
    assert!(heads[1..3].iter().all(|head| *head <= HEAD_BYTES), "{heads:?}");
}

#[tokio::test(start_paused = true)]
async fn a_head_alone_is_enough_for_permits_from_who_has_sent_as_much_and_for_ten_seconds() {
    const LEN: usize = 100_000;
    let large = [&(LEN as u32).to_be_bytes()[..], &[0; LEN]].concat();
    for (before, permits, seconds) in [(0, 0, 30), (1, LEN, 10)] {
        let (mut client, server) = tokio::io::duplex(2 * LEN);
        let incoming = incoming();
        let mut frames = Frames::new(server, incoming.clone());
        for _ in 0..before {
            tokio::io::AsyncWriteExt::write_all(&mut client, &large).await.unwrap();
            frames.next().await.unwrap();
        }
        tokio::io::AsyncWriteExt::write_all(&mut client, &large[..HEAD_BYTES]).await.unwrap();
        assert!(frames.begins().await.unwrap());
        let started = Instant::now();
        let mut next = std::pin::pin!(frames.next());
        assert!(tokio::time::timeout(Duration::from_secs(1), &mut next).await.is_err());
        assert_eq!(incoming.usual.available_permits(), USUAL_BUDGET_BYTES - permits);
        let error = next.await.unwrap_err();
        assert!(matches!(error, FrameError::Offence(Offence::TooSlow)), "{error}");
        assert_eq!(started.elapsed().as_secs(), seconds);
    }
}

#[tokio::test]
async fn who_has_sent_as_much_is_given_memory_that_a_large_frame_has_left() {
    const LEN: usize = 1_000_000;
    let spares = Spares::default();
    let incoming = Arc::new(Incoming::new(spares.clone()));
    let sent = [&(LEN as u32).to_be_bytes()[..], &[0; LEN]].concat().repeat(2);
    let mut frames = Frames::new(&sent[..], incoming);
    for is_proven in [false, true] {
        assert!(spares.take(LEN).is_none(), "nothing is kept for which nobody has asked");
        spares.keep(vec![1; LEN + LEN / 100].into());
        assert!(frames.begins().await.unwrap());
        let frame = frames.next().await.unwrap().bytes;
        assert!(frame.len() == LEN && frame.iter().all(|byte| *byte == 0));
        assert_eq!(spares.take(LEN).is_none(), is_proven);
    }
}

#[tokio::test]
async fn a_frame_that_is_too_large_is_not_read() {
    let max = NAMES_BYTES_MAX;
    for len in [max as i64 + 1, i64::from(i32::MAX)] {
        let begin = [&(len as i32).to_be_bytes()[..], b"\0\x12"].concat();
        assert_eq!(offence(&begin).await, Offence::TooLarge { len, max });
    }
    let max_credentials = CREDENTIALS_BYTES_MAX;
    let begin = [&(max_credentials as u32 + 1).to_be_bytes()[..], b"\0\x24"].concat();
    let too_large = Offence::TooLarge { len: max_credentials as i64 + 1, max: max_credentials };
    assert_eq!(offence(&begin).await, too_large);
    assert_eq!(offence(b"\xff\xff\xff\xff\0\x12").await, Offence::TooLarge { len: -1, max });
    assert_eq!(offence(b"\0\0\0\x01\0\x12").await, Offence::NoHeader);
    assert_eq!(offence(b"GET / HTTP/1.1\r\n").await, Offence::Unknown { key: 0x2f20, version: -1 });
}

/// What comes of a frame of which so many bytes are sent, each piece so long after the one before.
async fn paced(len: usize, pieces: &[(usize, u64)]) -> Result<Frame, FrameError> {
    let (mut client, server) = tokio::io::duplex(1024);
    let mut frames = Frames::new(server, incoming());
    let sending = async {
        let mut begin = (len as u32).to_be_bytes().to_vec();
        for (bytes, seconds) in pieces {
            begin.resize(begin.len() + bytes, 0);
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            tokio::io::AsyncWriteExt::write_all(&mut client, &begin).await.unwrap();
            begin.clear();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => unreachable!(),
        frame = async { assert!(frames.begins().await.unwrap()); frames.next().await } => frame,
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_comes_at_a_pace() {
    let second = PACE_TIME.as_secs();
    let keeps_pace =
        [(FREE_BYTES, 0), (PACE_BYTES, second - 1), (PACE_BYTES, second - 1), (PACE_BYTES, second - 1)];
    let len = FREE_BYTES + 3 * PACE_BYTES;
    assert_eq!(paced(len, &keeps_pace).await.unwrap().bytes.len(), len);
    let lags = [(FREE_BYTES, 0), (PACE_BYTES, second - 1), (PACE_BYTES / 2, second - 1), (len, second - 1)];
    assert!(matches!(paced(len, &lags).await, Err(FrameError::Offence(Offence::TooSlow))));
}

#[tokio::test]
async fn who_claims_much_and_sends_little_keeps_nobody_waiting() {
    let incoming = incoming();
    let claim = [&(MESSAGES_BYTES_MAX as u32).to_be_bytes()[..], &[0; FREE_BYTES - 1]].concat();
    let mut silent = Vec::new();
    for _ in 0..100 {
        let (mut client, server) = tokio::io::duplex(2 * FREE_BYTES);
        tokio::io::AsyncWriteExt::write_all(&mut client, &claim).await.unwrap();
        let mut frames = Frames::new(server, incoming.clone());
        assert!(frames.begins().await.unwrap());
        let mut next = Box::pin(async move { frames.next().await });
        assert!(futures_util::poll!(&mut next).is_pending());
        silent.push((client, next));
    }
    assert_eq!(incoming.huge.available_permits(), HUGE_BUDGET_BYTES);
    // Those that have sent more take all there is for such, and not what there is for others.
    for (client, next) in &mut silent {
        tokio::io::AsyncWriteExt::write_all(client, &[0; 2]).await.unwrap();
        assert!(futures_util::poll!(next).is_pending());
    }
    assert_eq!(incoming.huge.available_permits(), 0);
    let usual = [&(USUAL_BYTES_MAX as u32).to_be_bytes()[..], &vec![0; USUAL_BYTES_MAX]].concat();
    let mut frames = Frames::new(&usual[..], incoming);
    assert!(frames.begins().await.unwrap());
    frames.next().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_the_middle_is_not_waited_for() {
    let (mut client, server) = tokio::io::duplex(64);
    let mut frames = Frames::new(server, incoming());
    tokio::io::AsyncWriteExt::write_all(&mut client, b"\0\0\0\x09\0\x12").await.unwrap();
    assert!(frames.begins().await.unwrap());
    let ended = frames.next().await;
    assert!(matches!(ended, Err(FrameError::Offence(Offence::TooSlow))), "{ended:?}");
}
