//! The budget of unfinished requests: who waits, who is refused, and that everything returns.

use std::future::poll_fn;

use axum::body::Body;
use tokio::{sync::mpsc, time::Instant};
use tonic::Code;

use super::*;

const MAX: usize = 8 << 20;

/// A body that is fed by hand.
fn body(intake: &Intake, call: Call) -> (mpsc::UnboundedSender<Bytes>, Metered<Body>) {
    let (feed, mut fed) = mpsc::unbounded_channel::<Bytes>();
    let stream = futures_util::stream::poll_fn(move |cx| {
        fed.poll_recv(cx).map(|data| data.map(Ok::<_, std::convert::Infallible>))
    });
    (feed, Metered::new(Body::from_stream(stream), call, intake.clone(), Held::default()))
}

/// The first `part` bytes of a message.
fn message(len: usize, part: usize) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend((len as u32).to_be_bytes());
    bytes.resize(5 + part, 7);
    bytes.into()
}

/// Reads so many bytes, and the rest of the last frame.
async fn read(body: &mut Metered<Body>, len: usize) -> Result<(), Status> {
    let mut left = len as i64;
    while left > 0 {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await.expect("there is more");
        left -= frame.map_err(|error| Status::from_error(error.into()))?.into_data().unwrap().len() as i64;
    }
    Ok(())
}

fn free(intake: &Intake) -> usize {
    intake.permits.available_permits()
}

/// Bodies that have the whole budget between them, each with half of its message.
async fn use_up(intake: &Intake) -> Vec<(mpsc::UnboundedSender<Bytes>, Metered<Body>)> {
    let mut holders = Vec::new();
    for _ in 0..8 {
        let (feed, mut body) = body(intake, Call::Produce);
        feed.send(message(MAX, MAX / 2)).unwrap();
        read(&mut body, MAX / 2).await.unwrap();
        holders.push((feed, body));
    }
    assert_eq!(free(intake), 0);
    holders
}

#[tokio::test]
async fn small_messages_need_no_permit_and_a_few_bytes_take_none() {
    let intake = Intake::new(MAX);
    let all = free(&intake);
    let (feed, mut body) = body(&intake, Call::Produce);
    feed.send(message(FREE_BYTES, FREE_BYTES)).unwrap();
    feed.send(message(MAX, FREE_BYTES)).unwrap();
    read(&mut body, 2 * (5 + FREE_BYTES)).await.unwrap();
    assert_eq!(free(&intake), all);
}

// The clock jumps ahead when nothing else happens.
#[tokio::test(start_paused = true)]
async fn a_single_request_is_refused_when_the_budget_stays_used_up() {
    let intake = Intake::new(MAX);
    let holders = use_up(&intake).await;
    let (feed, mut body) = body(&intake, Call::Produce);
    feed.send(message(MAX, MAX)).unwrap();
    let status = read(&mut body, MAX).await.expect_err("there are no permits");
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(holders);
    assert_eq!(free(&intake), 8 * MAX);
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_until_a_client_that_sends_no_more_is_given_up() {
    let intake = Intake::new(MAX);
    let mut holders = use_up(&intake).await;
    let begin = Instant::now();
    let (_silent, mut stuck) = holders.pop().unwrap();
    let stuck = tokio::spawn(async move { read(&mut stuck, MAX).await });
    let (feed, mut body) = body(&intake, Call::ProduceStream);
    feed.send(message(MAX, MAX)).unwrap();
    read(&mut body, MAX).await.unwrap();
    assert!(begin.elapsed() >= time_to_receive(MAX));
    assert_eq!(stuck.await.unwrap().expect_err("it took too long").code(), Code::Unavailable);
}

#[tokio::test]
async fn a_stream_holds_permits_for_one_message_at_a_time() {
    let intake = Intake::new(MAX);
    let (feed, mut body) = body(&intake, Call::ProduceStream);
    let two = [message(MAX, MAX), message(MAX, MAX)].concat();
    feed.send(two.into()).unwrap();
    read(&mut body, 5 + MAX).await.unwrap();
    assert_eq!(free(&intake), 7 * MAX);
    body.held.release();
    read(&mut body, MAX - FREE_BYTES).await.unwrap();
    assert_eq!(free(&intake), 7 * MAX);
    drop(body);
    assert_eq!(free(&intake), 8 * MAX);
}

#[tokio::test]
async fn a_second_message_of_a_single_request_and_large_ones_of_other_calls_are_refused() {
    let intake = Intake::new(MAX);
    let (feed, mut produce) = body(&intake, Call::Produce);
    feed.send([message(MAX, MAX), message(MAX, MAX)].concat().into()).unwrap();
    read(&mut produce, 5 + MAX).await.unwrap();
    let status = read(&mut produce, MAX).await.expect_err("one is enough");
    assert_eq!(status.code(), Code::InvalidArgument);

    let (feed, mut other) = body(&intake, Call::Other);
    feed.send(message(MAX, MAX)).unwrap();
    let status = read(&mut other, MAX).await.expect_err("nobody needs that much");
    assert_eq!(status.code(), Code::InvalidArgument);
}
