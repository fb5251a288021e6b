//! Golden files: what every earlier version has written opens, with the content that it had.
//!
//! `tests/golden/<format>.txt` is a data directory as text: each file with 32 bytes in hexadecimal per line,
//! equal lines counted. It was written once, by the version that brought the format, and is never written again.
//! When a format changes, another one is added:
//!
//! ```text
//!     MINIKAFKA_GOLDEN=<format> cargo test -p minikafka-storage golden
//! ```
//!
//! The content is always that of [`SCRIPT`], so the ledger of a run today tells what must be there.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use minikafka_storage::filesystem::{Options, SyncPolicy};

use super::{
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

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
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
    let (image, ledger) = lived();
    if let Ok(name) = std::env::var("MINIKAFKA_GOLDEN") {
        let path = golden_dir().join(name).with_extension("txt");
        assert!(!path.exists(), "{path:?} is there: what was written once is never written again");
        fs::create_dir_all(golden_dir()).unwrap();
        fs::write(path, encode(&image)).unwrap();
    }
    let mut opened = 0;
    for entry in fs::read_dir(golden_dir()).expect("tests/golden is there") {
        let path = entry.unwrap().path();
        let golden = decode(&fs::read_to_string(&path).unwrap());
        for suffix in [".log", ".index", "manifest", ".journal", "minikafka", "blob-vote"] {
            let has = golden.files().any(|path| path.display().to_string().ends_with(suffix));
            assert!(has, "{path:?} has no {suffix}");
        }
        if let Err(error) = reopen(&FakeDisk::with(&golden), &ledger, Trust::Answers, &options()) {
            panic!("{path:?}: {error}");
        }
        opened += 1;
    }
    assert!(opened > 0, "no golden file");
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
