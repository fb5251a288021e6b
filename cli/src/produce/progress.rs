//! The progress bar of a file.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

const TEMPLATE: &str =
    "{decimal_bytes} of {decimal_total_bytes} [{wide_bar}] {decimal_bytes_per_sec}, {eta} left";

/// A bar on stderr for so many bytes; a hidden one when nobody sees it or the end is not known.
pub(crate) fn bar(bytes: Option<u64>) -> ProgressBar {
    match bytes {
        Some(bytes) if stderr().is_terminal() => {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is valid");
            ProgressBar::new(bytes).with_style(style.progress_chars("=> "))
        }
        _ => ProgressBar::hidden(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_valid() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }
}
