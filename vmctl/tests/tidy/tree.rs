//! Tree: the project's files as the tidy tests see them, without build output.

use std::path::{Path, PathBuf};

/// One text file: its path from the project's root, and its text.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The languages with rules of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Rust,
    C,
    Shell,
    Markdown,
    Toml,
    Lock,
    /// What programs wrote for tests to compare.
    Data,
    Other,
}

impl File {
    pub(crate) fn kind(&self) -> Kind {
        if self.text.starts_with("#!") {
            return Kind::Shell;
        }
        match self.path.rsplit_once('.').map(|(_, ext)| ext) {
            Some("rs") => Kind::Rust,
            Some("c" | "h") => Kind::C,
            Some("sh") => Kind::Shell,
            Some("md") => Kind::Markdown,
            Some("toml") => Kind::Toml,
            Some("lock") => Kind::Lock,
            Some("txt" | "stderr") => Kind::Data,
            _ => Kind::Other,
        }
    }

    /// Whether the file is test or build code, where some of the rules do not hold.
    pub(crate) fn is_test_code(&self) -> bool {
        let named = self.path.ends_with("/tests.rs") || self.path.ends_with("/build.rs");
        named || (self.path.contains("/tests/") && !self.path.starts_with("tests/e2e/"))
    }

    /// Rust code without comments and literals, line by line, so that words in them do not count.
    pub(crate) fn code(&self) -> Vec<String> {
        strip(&self.text).lines().map(str::to_owned).collect()
    }
}

/// The root of the project.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("vmctl lies in the project").to_owned()
}

/// Every text file that belongs to the project, sorted by path.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    walk(&root(), &root(), &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The files of one kind.
pub(crate) fn of(kind: Kind) -> Vec<File> {
    files().into_iter().filter(|file| file.kind() == kind).collect()
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    let entries = std::fs::read_dir(folder).expect("a folder of the project can be read");
    for entry in entries {
        let path = entry.expect("an entry of the project can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // In a second worktree `.git` is a file.
        if name == ".git" || name == "target" {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files);
        } else if !is_build_output(&name)
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            let inside = path.strip_prefix(root).expect("the walk began at the root");
            files.push(File { path: inside.to_string_lossy().into_owned(), text });
        }
    }
}

/// What builds leave beside the sources of the kernel module (see .gitignore).
fn is_build_output(name: &str) -> bool {
    let endings = [".o", ".ko", ".mod", ".mod.c", ".cmd", ".d", ".rej", ".orig"];
    matches!(name, "Module.symvers" | "modules.order") || endings.iter().any(|e| name.ends_with(e))
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Code,
    LineComment,
    BlockComment,
    Text,
}

/// Blanks comments, strings and character literals; line breaks stay where they are.
fn strip(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let (mut at, mut i) = (At::Code, 0);
    while i < bytes.len() {
        let pair = &bytes[i..bytes.len().min(i + 2)];
        let (next, step, keep) = match (at, pair) {
            (_, [b'\n', ..]) => (if at == At::LineComment { At::Code } else { at }, 1, true),
            (At::Code, b"//") => (At::LineComment, 2, false),
            (At::Code, b"/*") => (At::BlockComment, 2, false),
            (At::BlockComment, b"*/") => (At::Code, 2, false),
            (At::Code, [b'"', ..]) => (At::Text, 1, false),
            (At::Code, [b'\'', ..]) => (At::Code, character(&bytes[i..]), false),
            (At::Text, [b'\\', ..]) => (At::Text, 2, false),
            (At::Text, [b'"', ..]) => (At::Code, 1, false),
            _ => (at, 1, at == At::Code),
        };
        let passed = &source.as_bytes()[i..bytes.len().min(i + step)];
        out.extend(passed.iter().map(|&b| match b {
            b'\n' => '\n',
            b if keep => char::from(b),
            _ => ' ',
        }));
        (at, i) = (next, i + step);
    }
    out
}

/// The length of a character literal, or 1 for the quote of a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', ..] => rest.iter().skip(3).position(|&b| b == b'\'').map_or(1, |end| end + 4),
        [_, _, b'\'', ..] => 3,
        _ => 1,
    }
}

#[test]
fn stripping_keeps_code_and_lines() {
    let source = "let a = \"unsafe\"; // unsafe\nlet b = '\"'; /* unsafe\n*/ unsafe { 'a' }";
    let code = strip(source);
    assert_eq!(code.matches("unsafe").count(), 1, "{code}");
    assert_eq!(code.lines().count(), source.lines().count());
    assert!(code.lines().nth(2).expect("three lines").contains("unsafe {"));
}
