//! Command line: what a user calls a checker, and the program that it is for one state.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::{IMAGE, MARKERS};
use crate::process::{Program, quoted};

/// A command line for `/bin/sh`.
#[derive(Debug)]
pub(super) struct CommandLine {
    text: String,
    /// Its words, if a shell would do no more than start the program that the first one names.
    words: Option<Vec<String>>,
}

impl CommandLine {
    /// A command line that is given in this folder.
    pub(super) fn new(text: &str, folder: &Path) -> Self {
        Self { text: text.to_owned(), words: plain(text, folder) }
    }

    /// The program that judges this image. A shell costs as much as a small checker does, so it is
    /// left out where it makes no difference.
    pub(super) fn program(&self, image: &Path, markers: &Path) -> Program {
        let Some(words) = &self.words else {
            let line = self.text.replace(IMAGE, &quoted(image));
            let line = line.replace(MARKERS, &quoted(markers));
            return Program::new("/bin/sh").args(["-c", &line]);
        };
        let (image, markers) = (image.to_string_lossy(), markers.to_string_lossy());
        let word = |word: &String| word.replace(IMAGE, &image).replace(MARKERS, &markers);
        Program::new(&words[0]).args(words[1..].iter().map(word))
    }
}

/// The words of a command line without anything that a shell gives a meaning to, whose first one
/// is a path of a program that the kernel can start.
fn plain(text: &str, folder: &Path) -> Option<Vec<String>> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-+./:,@%= ".contains(c);
    let rest = text.replace(IMAGE, "").replace(MARKERS, "");
    let words: Vec<_> = text.split(' ').filter(|w| !w.is_empty()).map(str::to_owned).collect();
    let first = words.first().filter(|first| first.contains('/') && !first.contains(['=', '{']))?;
    let path = folder.join(first);
    let may_run = path.is_file() && access(&path, AccessFlags::X_OK).is_ok();
    (may_run && rest.chars().all(is_plain) && is_program(&path)).then_some(words)
}

/// Whether the kernel knows what to do with it; a shell takes any other text for a script.
fn is_program(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4).read_to_end(&mut start));
    read.is_ok() && (start == b"\x7fELF" || start.starts_with(b"#!"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_shell_is_left_out_only_where_it_does_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, mode) in [
            ("check", "#!/bin/sh\n", 0o755),
            ("text", "exit 1\n", 0o755),
            ("closed", "#!/bin/sh\n", 0o644),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let line = |text: &str| {
            let line = CommandLine::new(text, folder.path());
            line.program(Path::new("/i m"), Path::new("/m")).line()
        };
        assert_eq!(line("./check --now  {image} -m={markers}"), "./check --now '/i m' -m=/m");
        for text in [
            "./check {image} && true",
            "./check '{image}'",
            "./check $CRASH_IMAGE {image}",
            "./check {image} > log",
            "./check {image} *.c",
            "./check ~ {image}",
            "./check {image}\n",
            "A=./b ./check {image}",
            "a=/b ./check {image}",
            "test -e {image}",
            "./text {image}",
            "./closed {image}",
            "./none {image}",
            ". {image}",
            "{image}/x",
        ] {
            assert!(line(text).starts_with("/bin/sh -c "), "{text}: {}", line(text));
        }
    }
}
