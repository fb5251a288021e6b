//! How a membership ends: what was printed is committed, then the member leaves; each within limits of its own once
//! somebody has asked it to end.

use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
    time::Duration,
};

use minikafka_client_consume::{ConsumeError, GroupConsumer};
use minikafka_flags::format_duration;
use tokio::time;

use super::repeated::{Printed, Repeated};
use crate::interrupt::{AbruptEnd, Cut, INTERRUPTED, Interrupt, Patience};

/// How long a commit may take without a word, and how long leaving may, which is a matter of politeness.
const SHORT: Duration = Duration::from_secs(1);
/// How long an end by Ctrl-C may take to commit what was printed.
const COMMITTING: Duration = Duration::from_secs(10);
/// How long all of such an end may take: a reader of stdout that does not read holds it up without end.
const ENDING: Duration = Duration::from_secs(15);

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    AsWanted,
    Interrupted,
    /// By an error that is said once it has left.
    Failed,
}

/// Whether everything that was printed is committed, for good because nothing more is printed, and why that is so.
#[derive(Clone, Debug, Default)]
pub(super) struct AllCommitted(Arc<OnceLock<Ended>>);

impl AllCommitted {
    fn note(&self, ended: Ended) {
        let _ = self.0.set(ended);
    }

    fn ended(&self) -> Option<Ended> {
        self.0.get().copied()
    }
}

/// Listens for signals. An end that is cut short says that positions may not be committed, unless all are: then there is
/// nothing to say, and it ends as if nothing had been cut short, with `exit_code` if the first signal was what ended it.
pub(super) fn listen(committed: &AllCommitted, exit_code: u8) -> anyhow::Result<Interrupt> {
    let committed = committed.clone();
    Interrupt::listen_with(Patience::For(ENDING), move |cut| abrupt_end(cut, committed.ended(), exit_code))
}

fn abrupt_end(cut: Cut, all_committed: Option<Ended>, exit_code: u8) -> AbruptEnd {
    match all_committed {
        Some(Ended::AsWanted) => return AbruptEnd { says: None, exit_code: 0 },
        Some(Ended::Interrupted) => return AbruptEnd { says: None, exit_code },
        Some(Ended::Failed) => return AbruptEnd { says: None, exit_code: 1 },
        None => {}
    }
    let (why, exit_code) = match cut {
        Cut::SecondSignal => ("interrupted again", INTERRUPTED),
        Cut::PatienceIsOver => ("it cannot end in good order", 1),
    };
    let says = format!(
        "consume: {why}: the last positions are not committed; what was printed since the last commit may come again"
    );
    AbruptEnd { says: Some(says), exit_code }
}

/// A member that has printed all that it will.
pub(super) trait Leaves {
    /// What was printed and is not committed.
    fn repeated(&self) -> Repeated;

    /// Commits what was printed of the partitions that it reads.
    async fn commit(&mut self) -> Result<(), ConsumeError>;

    /// Commits what is not committed yet, and leaves. Fails for the commit only.
    async fn leave(self) -> Result<(), ConsumeError>;
}

impl Leaves for (GroupConsumer, &Printed) {
    fn repeated(&self) -> Repeated {
        self.1.uncommitted(&self.0)
    }

    async fn commit(&mut self) -> Result<(), ConsumeError> {
        self.0.commit().await
    }

    async fn leave(self) -> Result<(), ConsumeError> {
        self.0.leave_consumer_group().await
    }
}

/// Commits what was printed, and leaves. Once somebody has asked it to end, there is a limit to that.
///
/// # Errors
/// What stands in the way of the commit, and what comes again therefore. That leaving has failed the server finds out
/// by itself.
pub(super) async fn end(
    mut member: impl Leaves,
    ended: Ended,
    committed: &AllCommitted,
) -> Result<(), (String, Repeated)> {
    let commit = match ended {
        _ if member.repeated().is_empty() => Ok(()),
        Ended::AsWanted | Ended::Failed => member.commit().await.map_err(in_words),
        // It holds all of the consumer, and is kept in one place.
        Ended::Interrupted => within_limits(Box::pin(member.commit())).await,
    };
    let repeated = member.repeated();
    if repeated.is_empty() {
        committed.note(ended);
    }
    let leaving = Box::pin(member.leave());
    let left = match (commit, ended) {
        (Ok(()), Ended::AsWanted) => leaving.await.map_err(in_words),
        // Of partitions that it was giving up there is something left to commit.
        (Ok(()), Ended::Failed) if !repeated.is_empty() => leaving.await.map_err(in_words),
        (Ok(()), Ended::Interrupted) if !repeated.is_empty() => within_limits(leaving).await,
        (Ok(()), Ended::Interrupted | Ended::Failed) => {
            let _ = time::timeout(SHORT, leaving).await;
            Ok(())
        }
        // It tries once more on the way out.
        (Err(cause), _) => match time::timeout(SHORT, leaving).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(cause),
        },
    };
    left.map_err(|cause| (cause, repeated))
}

/// Leaves, and commits nothing: what could not be printed must come again, to the others at once.
pub(super) async fn leave_unprinted(consumer: GroupConsumer) {
    let _ = time::timeout(SHORT, consumer.leave_without_commit()).await;
}

/// Waits for a commit for as long as somebody who has pressed Ctrl-C does, and says so.
async fn within_limits(
    mut committing: impl Future<Output = Result<(), ConsumeError>> + Unpin,
) -> Result<(), String> {
    let outcome = match time::timeout(SHORT, &mut committing).await {
        Ok(outcome) => Ok(outcome),
        Err(_elapsed) => {
            let limit = format_duration(COMMITTING);
            say!("consume: no answer to the commit yet; trying for {limit} more, Ctrl-C ends that");
            time::timeout(COMMITTING, committing).await
        }
    };
    match outcome {
        Ok(outcome) => outcome.map_err(in_words),
        Err(_elapsed) => Err("no answer".to_owned()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn in_words(error: impl Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use minikafka_client_consume::TopicPartition;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// A member whose commit takes so long, and whose leaving has no answer.
    struct Slow {
        commit: Duration,
        is_committed: bool,
    }

    impl Leaves for Slow {
        fn repeated(&self) -> Repeated {
            let range = (TopicPartition::new("t", 0), 1, Some(2));
            Repeated { ranges: if self.is_committed { Vec::new() } else { vec![range] } }
        }

        async fn commit(&mut self) -> Result<(), ConsumeError> {
            sleep(self.commit).await;
            self.is_committed = true;
            Ok(())
        }

        async fn leave(self) -> Result<(), ConsumeError> {
            pending().await
        }
    }

    /// What comes of an end by Ctrl-C, whether all is known to be committed then, and how long it took.
    async fn interrupted(member: Slow) -> (Result<(), String>, bool, Duration) {
        let (begin, committed) = (Instant::now(), AllCommitted::default());
        let ended = end(member, Ended::Interrupted, &committed).await;
        (
            ended.map_err(|(cause, repeated)| format!("{cause}; {repeated}")),
            committed.ended().is_some(),
            begin.elapsed(),
        )
    }

    // The clock jumps ahead when nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn what_is_committed_in_time_is_committed_whatever_becomes_of_leaving() {
        let commit = Duration::from_secs(7);
        let (ended, is_committed, took) = interrupted(Slow { commit, is_committed: false }).await;
        assert_eq!((ended, is_committed), (Ok(()), true));
        assert!((commit..commit + 2 * SHORT).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_commit_is_polite_for_a_moment() {
        let (ended, is_committed, took) =
            interrupted(Slow { commit: Duration::MAX, is_committed: true }).await;
        assert_eq!((ended, is_committed), (Ok(()), true));
        assert!((SHORT..2 * SHORT).contains(&took), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_without_an_answer_is_given_up_and_says_what_comes_again() {
        let (ended, is_committed, took) = interrupted(Slow { commit: ENDING, is_committed: false }).await;
        let said = ended.unwrap_err();
        assert!(
            said.starts_with("no answer; ") && said.ends_with(": message 1 of partition 0 of topic \"t\""),
            "{said}"
        );
        assert!(!is_committed && took < ENDING, "{took:?}");
    }

    #[test]
    fn an_end_that_is_cut_short_says_what_is_lost_only_if_something_may_be() {
        for (cut, code) in [(Cut::SecondSignal, INTERRUPTED), (Cut::PatienceIsOver, 1)] {
            let lossy = abrupt_end(cut, None, 0);
            assert!(lossy.says.unwrap().contains("not committed"));
            assert_eq!(lossy.exit_code, code);
            for (ended, code) in [(Ended::AsWanted, 0), (Ended::Interrupted, 130), (Ended::Failed, 1)] {
                let fine = abrupt_end(cut, Some(ended), 130);
                assert_eq!((fine.says, fine.exit_code), (None, code));
            }
        }
    }
}
