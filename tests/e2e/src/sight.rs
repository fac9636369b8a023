//! Sight: whether an observer can tell what of a guest's NVDIMM is durable, and if not, why not.

use std::path::{Path, PathBuf};

use vm::accel::Accel;
use vm::host;

/// What can be known of a guest's flushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All, by this library that QEMU loads.
    Clear(PathBuf),
    /// Nothing, and why: only abrupt losses of power can be judged, which keep every store.
    Blind(String),
}

impl Sight {
    /// What can be known of guests of this QEMU; `build` makes the library.
    pub(crate) fn find(
        accel: Accel,
        qemu: &Path,
        build: impl FnOnce() -> anyhow::Result<PathBuf>,
    ) -> anyhow::Result<Self> {
        if accel == Accel::Kvm {
            return Ok(Self::Blind("KVM does not show a guest's flushes (TCG does)".to_owned()));
        }
        let library = build()?;
        Ok(match host::load_plugin(qemu, &library, "out=/dev/null") {
            Ok(()) => Self::Clear(library),
            Err(error) => Self::Blind(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn who_cannot_see_says_why() {
        let nobody = Path::new("/no/such/qemu");
        let kvm = Sight::find(Accel::Kvm, nobody, || bail!("nothing is built for KVM")).unwrap();
        assert!(matches!(kvm, Sight::Blind(why) if why.starts_with("KVM does not show")));
        let tcg = Sight::find(Accel::Tcg, Path::new("/bin/false"), || Ok("/o.so".into())).unwrap();
        let expected = "a QEMU that loads the observer: /bin/false: it says nothing";
        assert_eq!(tcg, Sight::Blind(expected.to_owned()));
        let clear = Sight::find(Accel::Tcg, Path::new("/bin/true"), || Ok("/o.so".into()));
        assert_eq!(clear.unwrap(), Sight::Clear("/o.so".into()));
    }
}
