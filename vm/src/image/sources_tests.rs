//! Tests of the sources: both formats, and who is Debian.

use super::*;

const DEB822: &str = "\
# comment
Types: deb deb-src
# in between
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: https://vendor.example/repo
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/vendor.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
";

const LIST: &str = "\
# deb http://old.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
http://mirror.example/debian bookworm main # ours
deb\thttp://mirror.example/debian-security bookworm-security main
deb-src http://mirror.example/debian bookworm main
deb https://docker.example/linux/debian bookworm stable
deb cdrom:[Debian 12]/ bookworm main
";

#[test]
fn deb822_paragraphs_become_sources() {
    let sources = parse_deb822(DEB822);
    assert_eq!(sources.len(), 2, "{sources:?}");
    assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
    assert_eq!(sources[1].option("Signed-By"), Some("/usr/share/keyrings/vendor.gpg"));
}

#[test]
fn one_line_entries_become_sources() {
    let sources = parse_list(LIST);
    assert_eq!(sources[0].uris, ["http://mirror.example/debian"]);
    assert_eq!(sources[0].components, ["main"]);
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    assert_eq!(sources[0].option("Signed-By"), Some(key));
    assert_eq!(sources[1].suites, ["bookworm-security"]);
}

#[test]
fn only_debian_itself_is_taken() {
    let debian = of_debian(&parse_deb822(DEB822), "bookworm");
    assert_eq!(debian.len(), 1);
    assert_eq!(debian[0].components, ["main"]);
    let debian = of_debian(&parse_list(LIST), "bookworm");
    let uris: Vec<&str> = debian.iter().map(|source| source.uris[0].as_str()).collect();
    assert_eq!(uris, ["http://mirror.example/debian", "http://mirror.example/debian-security"]);
    assert_eq!(of_debian(&debian, "trixie"), []);
}

#[test]
fn another_release_of_debian_comes_from_the_same_places() {
    let debian = of_debian(&parse_list(LIST), "bookworm");
    let renamed = renamed(debian, "bookworm", "trixie");
    assert_eq!(renamed[0].suites, ["trixie"]);
    assert_eq!(renamed[1].suites, ["trixie-security"]);
}

#[test]
fn an_inline_key_keeps_its_lines() {
    let text = "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n\
        Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n";
    let sources = parse_deb822(text);
    let again = parse_deb822(&deb822(&sources));
    assert_eq!(again, sources);
    assert!(deb822(&sources).contains("\n -----BEGIN PGP"));
}

#[test]
fn a_mirror_by_hand_may_have_security_beside_it() {
    let sources = of_mirror("http://m.example/debian/", "trixie", "/k.gpg", true);
    assert_eq!(sources[0].suites, ["trixie", "trixie-updates"]);
    assert_eq!(sources[1].uris, ["http://m.example/debian-security"]);
    assert_eq!(of_mirror("http://m.example/debian", "trixie", "/k.gpg", false).len(), 1);
}
