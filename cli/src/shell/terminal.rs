//! [`Terminal`], where a person types lines.
//!
//! Reading keys blocks, so it has a thread: connections and the membership in a group are looked after meanwhile. The
//! thread is never joined; a line that is being typed ends with the process.

use std::{
    collections::VecDeque,
    io::{self, stdin},
    path::PathBuf,
    thread,
};

use anyhow::Context as _;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::{Behavior, CompletionType, Config, Editor, error::ReadlineError, history::FileHistory};
use tokio::{
    runtime::Handle,
    sync::mpsc::{self, Receiver, Sender},
};

use super::{completer::Completer, history::History};
use crate::target::Target;

/// As many as a person may want to find again.
const HISTORY_LINES_MAX: usize = 10_000;

type LineEditor = Editor<Completer, FileHistory>;

/// See the module.
pub(super) struct Terminal {
    prompts: Sender<String>,
    typed: Receiver<Result<String, ReadlineError>>,
    /// Whether a line is being typed that was not taken yet.
    is_asked: bool,
    /// What is left of several lines that were pasted at once.
    pasted: VecDeque<String>,
    original: Option<Termios>,
}

impl Terminal {
    /// The terminal of this process.
    pub(super) fn open(target: Target, history: &History) -> anyhow::Result<Terminal> {
        let original = tcgetattr(stdin()).ok();
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            // What is printed may go elsewhere; the line is typed at the terminal.
            .behavior(Behavior::PreferTerm)
            .build();
        let mut editor = LineEditor::with_config(config).context("cannot use the terminal")?;
        editor.set_helper(Some(Completer::new(target, Handle::current())));
        let file = recall(&mut editor, history);
        let (prompts, to_prompt) = mpsc::channel(1);
        let (lines, typed) = mpsc::channel(1);
        thread::Builder::new().name("terminal".to_owned()).spawn(move || {
            read(editor, file, to_prompt, &lines);
        })?;
        Ok(Terminal { prompts, typed, is_asked: false, pasted: VecDeque::new(), original })
    }

    /// The next line; `None` at the end. A line that was given up is empty.
    pub(super) async fn next(&mut self, prompt: &str) -> anyhow::Result<Option<String>> {
        if let Some(line) = self.pasted.pop_front() {
            return Ok(Some(line));
        }
        if !self.is_asked {
            self.is_asked = true;
            // Without a thread, the line below says so.
            let _ = self.prompts.send(prompt.to_owned()).await;
        }
        let typed = self.typed.recv().await;
        self.is_asked = false;
        match typed {
            Some(Ok(lines)) => {
                self.pasted = lines.split('\n').map(ToOwned::to_owned).collect();
                Ok(self.pasted.pop_front())
            }
            Some(Err(ReadlineError::Interrupted)) => Ok(Some(String::new())),
            None | Some(Err(ReadlineError::Eof)) => Ok(None),
            Some(Err(error)) => Err(error).context("cannot read from the terminal"),
        }
    }

    /// What was pasted behind a command that was ended is not wanted any more.
    pub(super) fn give_up_rest(&mut self) {
        self.pasted.clear();
    }

    /// Leaves the terminal as it was found, also in the middle of a line.
    pub(super) fn restore(&self) {
        if let Some(original) = &self.original {
            // The editor has had pasted text marked.
            say!("\x1b[?2004l");
            // The process ends: there is nothing left to do about a failure.
            let _ = tcsetattr(stdin(), OptionalActions::Now, original);
        }
    }
}

/// Reads the lines of earlier shells. Where this one is to keep its own.
fn recall(editor: &mut LineEditor, history: &History) -> Option<PathBuf> {
    let recalled = history.file().map_err(ReadlineError::Io).and_then(|file| {
        match file.as_deref().map(|file| editor.load_history(file)) {
            Some(Err(ReadlineError::Io(error))) if error.kind() == io::ErrorKind::NotFound => Ok(file),
            None | Some(Ok(())) => Ok(file),
            Some(Err(error)) => Err(error),
        }
    });
    recalled.unwrap_or_else(|error| {
        say!("minikafka: lines are not kept: {error}");
        None
    })
}

fn read(
    mut editor: LineEditor,
    mut file: Option<PathBuf>,
    mut prompts: Receiver<String>,
    lines: &Sender<Result<String, ReadlineError>>,
) {
    while let Some(prompt) = prompts.blocking_recv() {
        let line = editor.readline(prompt.as_str());
        if let Ok(line) = &line {
            keep(&mut editor, &mut file, line);
        }
        let is_end = line.as_ref().is_err_and(|error| !matches!(error, ReadlineError::Interrupted));
        if lines.blocking_send(line).is_err() || is_end {
            return;
        }
    }
}

/// Keeps a line for this shell and for later ones. It is appended at once: several shells may run, and any may be
/// killed.
fn keep(editor: &mut LineEditor, file: &mut Option<PathBuf>, line: &str) {
    if line.trim().is_empty() {
        return;
    }
    let kept = editor.add_history_entry(line).and_then(|is_new| match file.as_deref() {
        Some(file) if is_new => editor.append_history(file),
        _ => Ok(()),
    });
    if let Err(error) = kept {
        say!("minikafka: lines are not kept any more: {error}");
        *file = None;
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("is_asked", &self.is_asked).finish_non_exhaustive()
    }
}
