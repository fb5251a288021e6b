//! [`Progress`], what opening says while it lasts.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// When opening lasts, it says so this often.
const PAUSE: Duration = Duration::from_secs(1);

/// How far opening has come: logs done of all, and bytes read. Says so now and then, from whichever thread.
#[derive(Debug)]
pub(in crate::filesystem) struct Progress {
    logs: usize,
    logs_done: AtomicUsize,
    bytes: AtomicU64,
    /// When something was said last.
    said: Mutex<Instant>,
    pause: Duration,
}

impl Progress {
    /// Of opening so many logs.
    pub(super) fn new(logs: usize) -> Progress {
        Progress::saying_every(PAUSE, logs)
    }

    fn saying_every(pause: Duration, logs: usize) -> Progress {
        Progress {
            logs,
            logs_done: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            said: Mutex::new(Instant::now()),
            pause,
        }
    }

    /// So many bytes more are read.
    pub(in crate::filesystem) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.say_if_due(Instant::now());
    }

    /// Another log has been read.
    pub(super) fn log_done(&self) {
        self.logs_done.fetch_add(1, Ordering::Relaxed);
        self.say_if_due(Instant::now());
    }

    fn say_if_due(&self, now: Instant) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(*said) < self.pause {
            return;
        }
        *said = now;
        drop(said);
        let logs_done = self.logs_done.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        tracing::info!(logs_done, logs = self.logs, bytes, "opening logs");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::*;

    /// Keeps what is said, as `name=value` in order.
    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!("{}={value:?} ", field.name());
        }
    }

    impl Subscriber for Heard {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::INFO
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields(String::new());
            event.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    fn heard(work: impl FnOnce()) -> Vec<String> {
        let heard = Heard::default();
        tracing::subscriber::with_default(heard.clone(), work);
        heard.0.lock().unwrap().clone()
    }

    #[test]
    fn it_is_said_how_far_opening_is() {
        let said = heard(|| {
            let progress = Progress::saying_every(Duration::ZERO, 2);
            progress.read(1000);
            progress.log_done();
            progress.read(500);
        });
        let expected = [(0, 1000), (1, 1000), (1, 1500)]
            .map(|(done, bytes)| format!("message=opening logs logs_done={done} logs=2 bytes={bytes} "));
        assert_eq!(said, expected);
    }

    #[test]
    fn it_is_said_once_a_second_at_most() {
        let said = heard(|| {
            let progress = Progress::new(2);
            let begun = *progress.said.lock().unwrap();
            for millis in [0, 999, 1000, 1001, 1999, 2000, 5000] {
                progress.say_if_due(begun + Duration::from_millis(millis));
            }
        });
        assert_eq!(said.len(), 3, "{said:?}");
    }
}
