//! [`Membership`]: a task that holds the stream of a member, shows that it lives, and joins again when it has to.
//!
//! ```text
//!   join --> member --> (stream breaks) --> join again, as the same member
//!     ^        |
//!     |        +------> lost: the server has taken it for dead
//!     +---------------- idle: nobody has polled for too long; joins again with the next poll
//! ```

use std::{future::pending, sync::Arc, time::Duration};

use minikafka_client_connection::{Backoff, Connection, SharedConnection};
use minikafka_proto::v1::{self, Heartbeat, JoinGroup, JoinResponse, Joined, join_request, join_response};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{self, Instant},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    board::{Assignment, Board},
    member_stream::{Stream, Stuck, names, request},
};
use crate::{
    ConsumeError, TopicPartition,
    error::{Verdict, has_reason, is_answer, is_lost, judge, may_heal},
};

/// What waits to be sent: the last word on each thing that can be said, several times over.
const REQUESTS_MAX: usize = 16;
/// How long the server may take to confirm that a member has left.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a member is, for good.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) connection: SharedConnection,
    pub(crate) group: String,
    pub(crate) instance_id: String,
    pub(crate) client_id: String,
    pub(crate) session_timeout: Duration,
    pub(crate) poll_interval_max: Duration,
}

/// What the consumer wants to be said; always the last word.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) owned: Owned,
    /// The member of this number is lost: the server has said so elsewhere.
    pub(crate) lost: u64,
    pub(crate) leaves: bool,
}

/// What the consumer reads, and in answer to which assignment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    pub(crate) incarnation: u64,
    pub(crate) serial: u64,
    pub(crate) epoch: u64,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// The consumer's end of the task. Dropping it ends the task as it is: the server hears no more of the member.
pub(crate) struct Membership {
    pub(crate) board: Board,
    pub(crate) wishes: watch::Sender<Wish>,
    task: Option<JoinHandle<()>>,
}

impl Membership {
    /// Begins to join.
    pub(crate) fn start(member: Member, topics: Vec<Arc<str>>) -> Membership {
        let board = Board::new();
        let (wishes, wanted) = watch::channel(Wish { topics, ..Wish::default() });
        let task = Task { member, board: board.clone(), wishes: wanted, connection: None, serial: 0 };
        Membership { board, wishes, task: Some(tokio::spawn(task.run())) }
    }

    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wish)) {
        self.wishes.send_modify(change);
    }

    /// Leaves, and waits until the server knows.
    pub(crate) async fn leave(mut self) {
        self.wish(|wish| wish.leaves = true);
        if let Some(task) = self.task.take() {
            let abort = task.abort_handle();
            // Without an answer the server finds out by itself.
            if time::timeout(LEAVE_TIMEOUT, task).await.is_err() {
                abort.abort();
            }
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

struct Task {
    member: Member,
    board: Board,
    wishes: watch::Receiver<Wish>,
    /// The one that its streams are on.
    connection: Option<Connection>,
    /// Of the last assignment.
    serial: u64,
}

/// How a member ends, or its stream.
enum End {
    /// As it wanted.
    Left,
    /// The stream is gone, the member may be not.
    Ended(Arc<str>),
    /// The same, and the connection is of no use any more.
    Broken(Arc<str>),
    /// The server has taken it for dead.
    Lost(Arc<str>),
    /// Nobody polls.
    Idle,
    /// It cannot join.
    Refused(ConsumeError),
}

impl From<Status> for End {
    fn from(status: Status) -> End {
        match judge(&status) {
            Verdict::TryAgain(cause) if is_answer(&status) => End::Ended(cause),
            Verdict::TryAgain(cause) => End::Broken(cause),
            Verdict::Fail(error) if is_lost(&error) || has_reason(&error, &["STALE_MEMBER_EPOCH"]) => {
                End::Lost(error.to_string().into())
            }
            // The member is one all the same, and the same word may be taken the next time.
            Verdict::Fail(error) if may_heal(&error) => End::Ended(error.to_string().into()),
            Verdict::Fail(error) => End::Refused(error),
        }
    }
}

impl From<Stuck> for End {
    fn from(_: Stuck) -> End {
        End::Broken("the server does not read".into())
    }
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new();
        loop {
            let end = match self.open().await {
                Ok(stream) => self.serve(stream, &mut backoff).await,
                Err(end) => end,
            };
            match end {
                End::Left => return,
                End::Ended(cause) => self.board.note(|standing| standing.trouble = Some(cause)),
                End::Broken(cause) => {
                    self.give_up_connection();
                    self.board.note(|standing| standing.trouble = Some(cause));
                }
                End::Lost(cause) => self.lose(cause),
                End::Idle => {
                    let (idle, polled) = (self.member.poll_interval_max, self.board.polled());
                    self.lose(format!("nobody has polled for {idle:?}, so it left").into());
                    self.until_polled_after(polled).await;
                }
                End::Refused(error) => {
                    // Taken before it is noted: who hears of it may be faster than this task.
                    let polled = self.board.polled();
                    self.board.note(|standing| standing.refused = Some(error));
                    self.until_polled_after(polled).await;
                }
            }
            if self.leaves_within(backoff.next_wait()).await {
                return;
            }
        }
    }

    /// From now on it is another member.
    fn lose(&mut self, cause: Arc<str>) {
        self.board.end_lease();
        self.board.note(|standing| {
            standing.incarnation += 1;
            standing.member_id = "".into();
            standing.assignment = None;
            standing.loss = Some(cause);
        });
    }

    fn give_up_connection(&mut self) {
        if let Some(broken) = self.connection.take() {
            self.member.connection.give_up(&broken);
        }
    }

    /// Connects, and joins: anew, or as the member that it was.
    async fn open(&mut self) -> Result<Stream, End> {
        let connected = self.member.connection.open().await;
        let connection = self.connection.insert(connected.map_err(|cause| End::Broken(cause.into()))?);
        let mut client = connection.groups();
        let said = self.wishes.borrow_and_update().clone();
        if said.leaves && self.board.standing().member_id.is_empty() {
            return Err(End::Left);
        }
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let sent = Instant::now();
        let join = join_request::Message::Join(self.join(&said));
        requests.try_send(request(join)).expect("there is room for the first request");
        let opening = client.join(ReceiverStream::new(outgoing));
        let opened = time::timeout(self.member.session_timeout, opening);
        let silent = |_| End::Broken("the server does not answer".into());
        let replies = opened.await.map_err(silent)??.into_inner();
        let heartbeat = self.member.session_timeout / 3;
        Ok(Stream {
            requests,
            replies,
            incarnation: self.board.standing().incarnation,
            said: Wish { leaves: false, ..said },
            unanswered: Some(sent),
            heartbeat,
            next_heartbeat: sent + heartbeat,
        })
    }

    fn join(&self, wish: &Wish) -> JoinGroup {
        let standing = self.board.standing();
        let is_same = !standing.member_id.is_empty() && wish.owned.incarnation == standing.incarnation;
        let owned = if is_same { wish.owned.clone() } else { Owned::default() };
        JoinGroup {
            group: self.member.group.clone(),
            member_id: standing.member_id.to_string(),
            instance_id: self.member.instance_id.clone(),
            client_id: self.member.client_id.clone(),
            topics: names(&wish.topics),
            session_timeout_ms: millis(self.member.session_timeout),
            rebalance_timeout_ms: millis(self.member.poll_interval_max),
            owned: owned.partitions.iter().map(v1::TopicPartition::from).collect(),
            member_epoch: owned.epoch,
        }
    }

    /// Speaks for the member until the stream or the membership ends.
    async fn serve(&mut self, mut stream: Stream, backoff: &mut Backoff) -> End {
        if self.wishes.borrow().leaves {
            // It wanted to leave when the stream broke.
            self.wishes.mark_changed();
        }
        loop {
            let idle_at = self.board.polled() + self.member.poll_interval_max;
            let silent_at = stream.unanswered.map(|sent| sent + self.member.session_timeout);
            tokio::select! {
                reply = stream.replies.message() => match reply {
                    Ok(Some(reply)) => {
                        backoff.reset();
                        self.take(reply, &mut stream);
                    }
                    Ok(None) if stream.said.leaves => return End::Left,
                    Ok(None) => return End::Broken("the server is stopping".into()),
                    Err(status) => return status.into(),
                },
                changed = self.wishes.changed() => {
                    let wish = self.wishes.borrow_and_update().clone();
                    // Without a consumer nobody wants anything any more.
                    if changed.is_err() {
                        return End::Left;
                    }
                    if wish.lost == self.board.standing().incarnation {
                        return End::Lost("the server has refused a commit of it".into());
                    }
                    if let Err(stuck) = stream.say(wish) {
                        return stuck.into();
                    }
                }
                () = time::sleep_until(stream.next_heartbeat) => {
                    stream.next_heartbeat = Instant::now() + stream.heartbeat;
                    if stream.unanswered.is_none() {
                        stream.unanswered = Some(Instant::now());
                        if let Err(stuck) = stream.send(join_request::Message::Heartbeat(Heartbeat {})) {
                            return stuck.into();
                        }
                    }
                }
                () = sleep_until(silent_at) => return End::Broken("the server does not answer".into()),
                () = time::sleep_until(idle_at) => {
                    if self.board.polled() + self.member.poll_interval_max <= Instant::now() {
                        let wish = Wish { leaves: true, ..stream.said.clone() };
                        if stream.say(wish).is_ok() {
                            let _ = time::timeout(LEAVE_TIMEOUT, stream.replies.message()).await;
                        }
                        return End::Idle;
                    }
                }
            }
        }
    }

    fn take(&mut self, reply: JoinResponse, stream: &mut Stream) {
        match reply.message {
            Some(join_response::Message::Joined(Joined { member_id, heartbeat_interval_ms, .. })) => {
                if heartbeat_interval_ms > 0 {
                    stream.heartbeat = Duration::from_millis(heartbeat_interval_ms.into());
                    stream.next_heartbeat = Instant::now() + stream.heartbeat;
                }
                self.board.note(|standing| {
                    standing.member_id = member_id.into();
                    standing.client = self.connection.as_ref().map(Connection::groups);
                    standing.trouble = None;
                });
                self.is_heard(stream);
            }
            Some(join_response::Message::Heartbeat(_)) => self.is_heard(stream),
            Some(join_response::Message::Assignment(assignment)) => {
                self.serial += 1;
                let partitions = assignment.partitions.into_iter();
                let assignment = Assignment {
                    serial: self.serial,
                    epoch: assignment.member_epoch,
                    partitions: partitions
                        .map(|each| (TopicPartition::new(each.topic, each.partition), each.position))
                        .collect(),
                };
                self.board.note(|standing| standing.assignment = Some(Arc::new(assignment)));
            }
            None => {}
        }
    }

    /// The server has answered: it has heard the member no earlier than that was sent.
    fn is_heard(&self, stream: &mut Stream) {
        if let Some(sent) = stream.unanswered.take() {
            self.board.extend_lease(sent + self.member.session_timeout);
        }
    }

    /// Waits until somebody polls again, or wants to leave.
    async fn until_polled_after(&mut self, polled: Instant) {
        while self.board.polled() == polled && !self.wishes.borrow().leaves {
            // Who polls says so.
            if self.wishes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Pauses; returns whether the consumer has no more use for a membership.
    async fn leaves_within(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let leaves = self.wishes.borrow_and_update().leaves;
            if leaves {
                return self.board.standing().member_id.is_empty();
            }
            match time::timeout_at(until, self.wishes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return true,
                Err(_elapsed) => return false,
            }
        }
    }
}

/// What is longer than the wire can say is refused by the server, as is what is too long for it.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => pending().await,
    }
}
