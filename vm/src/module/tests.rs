//! Tests of module builds that need no image: which files take part, and what the key depends on.

use super::*;

/// A module with one file of the core and one of the glue.
fn hello(dir: &Path) -> Module<'_> {
    for folder in ["core", "linux", "user"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    fs::write(dir.join("core/a.c"), "int a;").unwrap();
    fs::write(dir.join("linux/Kbuild"), "obj-m := hello.o").unwrap();
    Module { name: "hello", dir, folders: &["core", "linux"], build_in: "linux", flags: &[] }
}

#[test]
fn only_what_people_wrote_takes_part() {
    let dir = tempfile::tempdir().unwrap();
    let module = hello(dir.path());
    for made in
        ["linux/hello.o", "linux/hello.mod.c", "linux/.hello.o.cmd", "linux/.x.c", "user/b.c"]
    {
        fs::write(dir.path().join(made), "x").unwrap();
    }
    let sources = source::read(&module).unwrap();
    let paths: Vec<_> = sources.iter().map(|file| file.path.to_str().unwrap()).collect();
    assert_eq!(paths, ["core/a.c", "linux/Kbuild"]);
}

#[test]
fn the_make_command_names_the_kernel_and_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    let module = Module { flags: &["COPY=1"], ..hello(dir.path()) };
    let argv = make(&module, "6.1", NonZero::<usize>::MIN);
    assert_eq!(argv[1..4], ["-j1", "-C", "/lib/modules/6.1/build"]);
    assert_eq!(argv[4..6], ["M=/usr/src/module/linux", "CONFIG_DEBUG_INFO="]);
    assert_eq!(argv[6..], ["CONFIG_DEBUG_INFO_BTF_MODULES=", "COPY=1", "modules"]);
    assert_eq!(path_in_guest(&module).to_str(), Some("/usr/src/module/linux/hello.ko"));
}
