//! Go's command-line conventions, which the users of the original MiniKafka know.
//!
//! - [`parse_duration`] reads durations as Go writes them: `3s`, `10m`, `1h30m`, `1.5h`, `300ms`.
//! - [`format_duration`] prints them back, without Go's trailing zeros: `168h`, not `168h0m0s`.
//! - [`parse_byte_size`] reads sizes, `512KiB`, `3MiB`, and [`format_byte_size`] prints them.
//! - [`go_style`] lets every long flag of a [`clap::Command`] be written with one dash: `-host` as well as `--host`.
//!
//! What this crate is not: a command line of its own. Each binary declares its flags with clap.

mod byte_size;
mod duration;
mod one_dash;

pub use byte_size::{ByteSizeError, format_byte_size, parse_byte_size, round_byte_size};
pub use duration::{DurationError, format_duration, parse_duration};
pub use one_dash::go_style;
