//! Golden files: what every earlier version has written opens, with the content that it had.
//!
//! `tests/golden/<kind>/<format>.txt` is a data directory as text: each file with 32 bytes in hexadecimal per line,
//! equal lines counted. It was written once, by the version that brought the format, and is never written again.
//! When a format changes, another one is added:
//!
//! ```text
//!     MINIKAFKA_GOLDEN=<kind>/<format> cargo test -p minikafka-storage golden
//! ```
//!
//! There are three kinds. What was done to `log` is always [`SCRIPT`], so the ledger of a run today tells what must be
//! there; in `damage` a server has found some; in `truncation` one was killed in the middle of it.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
    damaged,
    explore::reopen,
    ledger::{Ledger, Trust},
    run::{Clock, ROOT, Run},
    script::parse,
    tiny,
};
use crate::fake_disk::{FakeDisk, Image};

/// What was done to each directory: every kind of file is there at the end, with entries in each.
const SCRIPT: &str = "
    append a 3x30
    blob a vote 40
    append a 2x500
    append a 1x700
    trim a 20
    append b 2x30
    reset b
    append b 2x30
    append a 1x30
";
const LINE_LEN: usize = 32;

/// A kind of directory, how it comes about, and what must be there when it is opened.
struct Kind {
    name: &'static str,
    lived: fn() -> Image,
    /// Ends of the names of files that must be in it.
    files: &'static [&'static str],
    check: fn(&Image) -> Result<(), String>,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "log",
        lived: || lived().0,
        files: &[".log", ".index", "manifest", ".journal", "minikafka", "blob-vote"],
        check: |golden| reopen(&FakeDisk::with(golden), &lived().1, Trust::Answers, &options()).map(drop),
    },
    Kind {
        name: "damage",
        lived: damaged::remembered,
        files: &["/damage"],
        check: damaged::check_remembered,
    },
    Kind {
        name: "truncation",
        lived: damaged::in_a_truncation,
        files: &["manifest"],
        check: damaged::check_in_a_truncation,
    },
];

fn golden_dir(kind: &Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(kind.name)
}

fn options() -> Options {
    Options { direct_bytes: 800, ..tiny(SyncPolicy::Always) }
}

/// A data directory with [`SCRIPT`] done to it, killed, so that the journal is still needed.
fn lived() -> (Image, Ledger) {
    let disk = FakeDisk::new();
    let mut run = Run::open(&disk, &options(), Ledger::default(), Clock::default()).unwrap();
    run.steps(&parse(SCRIPT)).unwrap();
    let image = disk.live_image();
    (image, run.end().unwrap().0)
}

fn encode(image: &Image) -> String {
    let mut text = String::new();
    for path in image.files() {
        let content = image.file(path).unwrap();
        writeln!(text, "file {} {}", path.strip_prefix(ROOT).unwrap().display(), content.len()).unwrap();
        let mut lines = content.chunks(LINE_LEN).peekable();
        while let Some(line) = lines.next() {
            let mut count = 1;
            while lines.next_if_eq(&line).is_some() {
                count += 1;
            }
            let digits: String = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{count} {digits}").unwrap();
        }
    }
    text
}

fn decode(text: &str) -> Image {
    let mut image = Image::default();
    let mut path = PathBuf::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["file", name, _] => {
                path = Path::new(ROOT).join(name);
                for dir in path.ancestors().skip(1).filter(|dir| dir.parent().is_some()) {
                    image.insert(dir, None);
                }
                image.insert(&path, Some(Vec::new()));
            }
            [count, digits] => {
                let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
                let line: Vec<u8> = (0..digits.len()).step_by(2).map(byte).collect();
                let content = image.file_mut(&path).expect("a file comes before its lines");
                (0..count.parse().expect("a count")).for_each(|_: u32| content.extend(&line));
            }
            _ => panic!("neither a file nor a line of one: {line}"),
        }
    }
    image
}

#[test]
fn every_format_ever_written_opens() {
    for kind in KINDS {
        if let Ok(wanted) = std::env::var("MINIKAFKA_GOLDEN")
            && let Some(format) = wanted.strip_prefix(kind.name).and_then(|rest| rest.strip_prefix('/'))
        {
            let path = golden_dir(&kind).join(format).with_extension("txt");
            assert!(!path.exists(), "{path:?} is there: what was written once is never written again");
            fs::create_dir_all(golden_dir(&kind)).unwrap();
            fs::write(path, encode(&(kind.lived)())).unwrap();
        }
        let mut opened = 0;
        for entry in fs::read_dir(golden_dir(&kind)).expect("it is there") {
            let path = entry.unwrap().path();
            let golden = decode(&fs::read_to_string(&path).unwrap());
            for suffix in kind.files {
                let has = golden.files().any(|path| path.display().to_string().ends_with(suffix));
                assert!(has, "{path:?} has no {suffix}");
            }
            if let Err(error) = (kind.check)(&golden) {
                panic!("{path:?}: {error}");
            }
            opened += 1;
        }
        assert!(opened > 0, "no golden file of {}", kind.name);
    }
}

#[test]
fn a_directory_is_what_its_text_was() {
    let (image, _) = lived();
    let text = encode(&image);
    let copy = decode(&text);
    assert_eq!(encode(&copy), text);
    assert!(copy.files().eq(image.files()));
    assert!(text.len() < 100_000, "{}", text.len());
}
