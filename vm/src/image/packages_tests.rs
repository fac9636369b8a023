//! Tests of the packages, with the real apt on a small archive in a folder.

use std::fmt::Write;

use tempfile::TempDir;

use super::*;
use crate::process::Program;

/// An archive with one suite, and a project whose manifest wants its packages.
struct Archive {
    dir: TempDir,
}

impl Archive {
    fn new() -> Self {
        let archive = Self { dir: tempfile::tempdir().unwrap() };
        archive.write(
            "x.toml",
            "name = \"x\"\nsuite = \"some\"\narchitecture = \"amd64\"\nmodules = []\n\
             packages = [\"tool\"]\nskip = [\"scripts*\"]\n",
        );
        archive
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Offers exactly these packages: name, version, what it depends on.
    fn offer(&self, packages: &[(&str, &str, &str)]) {
        let mut index = String::new();
        for (name, version, depends) in packages {
            let control = format!(
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nDepends: {depends}\n\
                 Maintainer: Nobody <nobody@example.org>\nDescription: test\n"
            );
            self.write("build/DEBIAN/control", &control);
            let file = format!("pool/{name}_{version}_amd64.deb");
            fs::create_dir_all(self.dir.path().join("pool")).unwrap();
            let deb = self.dir.path().join(&file);
            // A package that is offered again must have the same bytes.
            let build = Program::new("dpkg-deb").env("SOURCE_DATE_EPOCH", "1");
            let build = build.args(["-b", "--root-owner-group"]);
            build.arg(self.dir.path().join("build")).arg(&deb).run_ok().unwrap();
            let (size, sha256) = (fs::metadata(&deb).unwrap().len(), hash::file(&deb).unwrap());
            writeln!(index, "{control}Filename: {file}\nSize: {size}\nSHA256: {sha256}\n").unwrap();
        }
        let packages = "main/binary-amd64/Packages";
        self.write(&format!("dists/some/{packages}"), &index);
        let path = self.dir.path().join("dists/some").join(packages);
        let sum = format!(" {} {} {packages}", hash::file(&path).unwrap(), index.len());
        let head = "Origin: Debian\nSuite: some\nCodename: some\nComponents: main\n";
        self.write("dists/some/Release", &format!("{head}Architectures: amd64\nSHA256:\n{sum}\n"));
    }

    fn places(&self) -> Vec<Vec<Source>> {
        let words = |word: &str| vec![word.to_owned()];
        vec![vec![Source {
            uris: vec![format!("file:{}", self.dir.path().display())],
            suites: words("some"),
            components: words("main"),
            options: vec![("Trusted".to_owned(), "yes".to_owned())],
        }]]
    }

    /// Fetches what the lock `x.lock` says; gives back the lock that was used and what was said.
    fn fetch(&self, locked: bool) -> Result<(Lock, String)> {
        let request = Request {
            manifest: self.dir.path().join("x.toml"),
            agent: PathBuf::new(),
            cache: self.dir.path().join("cache"),
            mirror: None,
            locked,
        };
        let manifest = Manifest::read(&request.manifest).unwrap();
        let cache = Cache::open(&request.cache).unwrap();
        let packages = Packages::new(&request, &manifest, &cache).unwrap();
        let mut said = String::new();
        let lock = packages.fetch_from(&self.places(), &mut |line| {
            writeln!(said, "{line}").unwrap();
        })?;
        assert_eq!(packages.missing(&lock), Vec::<&Package>::new(), "all of it is here now");
        Ok((lock, said))
    }

    fn lock(&self) {
        let apt = self.dir.path().join("apt");
        let apt = Apt::open(&apt, "amd64", &self.places(), &mut |_| {}).unwrap();
        let manifest = Manifest::read(&self.dir.path().join("x.toml")).unwrap();
        self.write("x.lock", &apt.resolve(&manifest).unwrap().to_string());
    }
}

fn names(lock: &Lock) -> Vec<String> {
    lock.packages.iter().map(|p| format!("{} {}", p.name, p.version)).collect()
}

#[test]
fn locked_packages_are_fetched_although_newer_ones_are_offered() {
    let archive = Archive::new();
    let old = [("tool", "1", "lib, scripts-x"), ("lib", "1:2", ""), ("scripts-x", "1", "")];
    archive.offer(&old);
    archive.lock();
    archive.offer(&[&old[..], &[("tool", "2", "lib, more"), ("more", "1", "")]].concat());
    let (lock, _) = archive.fetch(true).unwrap();
    assert_eq!(names(&lock), ["lib 1:2", "tool 1"]);
}

#[test]
fn a_dropped_version_is_named_and_resolved_anew_or_refused() {
    let archive = Archive::new();
    archive.offer(&[("tool", "1", "lib, scripts-x"), ("lib", "1", ""), ("scripts-x", "1", "")]);
    archive.lock();
    archive.offer(&[("tool", "2", "lib, scripts-x"), ("lib", "1", ""), ("scripts-x", "1", "")]);
    let error = archive.fetch(true).unwrap_err().to_string();
    assert!(error.contains("tool 1"), "{error}");
    let (lock, said) = archive.fetch(false).unwrap();
    assert_eq!(names(&lock), ["lib 1", "tool 2"]);
    assert!(said.contains("the mirror dropped tool 1"), "{said}");
    assert!(said.contains("tool 1 -> 2"), "{said}");
}

#[test]
fn a_package_with_another_content_is_refused() {
    let archive = Archive::new();
    archive.offer(&[("tool", "1", "")]);
    archive.lock();
    let text = fs::read_to_string(archive.dir.path().join("x.lock")).unwrap();
    let sha256 = text.trim_end().rsplit(' ').next().unwrap();
    archive.write("x.lock", &text.replace(sha256, &"0".repeat(64)));
    let error = archive.fetch(false).unwrap_err().to_string();
    assert!(error.contains("tool 1") && error.contains(sha256), "{error}");
}

#[test]
fn a_new_lock_is_told_as_changes() {
    let package = |name: &str, version: &str| Package {
        name: name.into(),
        version: version.into(),
        sha256: String::new(),
    };
    let old = Lock::new(vec![package("a", "1"), package("b", "1"), package("c", "1")]);
    let new = Lock::new(vec![package("a", "1"), package("b", "2"), package("d", "1")]);
    assert_eq!(changes(&old, &new), ["c 1 is left out", "b 1 -> 2", "d 1 is added"]);
}

#[test]
fn of_many_changes_a_reminder_names_a_few() {
    let words = ["a 1 -> 2", "b 1 is added", "c 1 is left out", "d 1 -> 2"].map(str::to_owned);
    assert_eq!(few(&words[..2]), "a 1 -> 2, b 1 is added");
    assert_eq!(few(&words), "a 1 -> 2, b 1 is added, and 2 more");
}
