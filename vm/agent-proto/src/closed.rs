//! Closed: what host and agent agree on where no frame goes between them.
//!
//! A closed guest finds its program in the initrd, and says on the console how that ended.

use crate::End;

/// The folder of the initrd with the program and its files.
pub const FOLDER: &str = "/closed";

/// The file there with the program and its arguments.
pub const COMMAND: &str = "/closed/command";

/// What a console line has before the end of the program.
const ENDED: &str = "paste-agent: the program ended: ";

/// The content of [`COMMAND`]: each word ends with a zero, as in `/proc/PID/cmdline`.
pub fn command<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    words.iter().flat_map(|word| [word.as_ref(), b"\0"].concat()).collect()
}

/// Program and arguments from the content of [`COMMAND`].
pub fn words(command: &[u8]) -> Vec<Vec<u8>> {
    let words = command.split_inclusive(|byte| *byte == 0);
    words.map(|word| word.strip_suffix(b"\0").unwrap_or(word).to_vec()).collect()
}

/// The console line about the program's end.
pub fn end(end: End) -> String {
    match end {
        End::Code(code) => format!("{ENDED}code {code}"),
        End::Signal(signal) => format!("{ENDED}signal {signal}"),
        End::Timeout => format!("{ENDED}timeout"),
    }
}

/// How the program ended, if a console line says so.
pub fn ended(line: &str) -> Option<End> {
    match line.strip_prefix(ENDED)?.split_once(' ') {
        Some(("code", code)) => code.parse().ok().map(End::Code),
        Some(("signal", signal)) => signal.parse().ok().map(End::Signal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive() {
        for all in [vec!["/closed/program"], vec!["a", "", "two words", "\n"], vec![]] {
            let back = words(&command(&all));
            assert_eq!(back, all.iter().map(|word| word.as_bytes()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_end_survives_the_console() {
        for it in [End::Code(0), End::Code(255), End::Signal(11)] {
            assert_eq!(ended(&end(it)), Some(it));
        }
        assert_eq!(ended("paste-agent: the program ended: code x"), None);
        assert_eq!(ended("code 0"), None);
    }
}
