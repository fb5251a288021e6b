//! [`say!`], talk on stderr.

/// A line on stderr. That nobody can read it, as when stderr is a pipe to a program that has ended, keeps no program
/// from what is still to be done, and changes no exit code: `eprintln!` would panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use ::std::io::Write as _;
        let _ = ::std::writeln!(::std::io::stderr(), $($text)*);
    }};
}
