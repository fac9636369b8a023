//! NVDIMM: a file that a guest sees as persistent memory.
//!
//! The info block that says what the namespace is (devdax or fsdax) is written here, on the host;
//! the guest needs no tool. Only what lies at [`Nvdimm::data_offset`] and above is the guest's.

mod info_block;
mod window;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};

use crate::error::{Error, Result};
use crate::units::Mib;
use info_block::InfoBlock;

pub use window::Window;

/// Linux 6.1 refuses namespaces of other sizes (`region0/align`).
const GRANULE: Mib = Mib(16);

/// What the guest makes of an NVDIMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `/dev/dax0.0`, a character device to map.
    Devdax,
    /// `/dev/pmem0`, a block device for a file system mounted with `-o dax`.
    Fsdax,
}

impl Mode {
    /// The name of the first such device in a guest.
    pub fn device(self) -> &'static str {
        match self {
            Self::Devdax => "/dev/dax0.0",
            Self::Fsdax => "/dev/pmem0",
        }
    }
}

/// A file that a guest sees as an NVDIMM. It is locked: no other process uses it meanwhile.
#[derive(Debug)]
pub struct Nvdimm {
    path: PathBuf,
    size: Mib,
    mode: Mode,
    data_offset: u64,
    file: Flock<File>,
}

impl Nvdimm {
    /// Makes a new, empty NVDIMM; a file of that name is replaced. Its room on the disk is
    /// reserved, because a full disk would kill QEMU with SIGBUS later.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a size that is no multiple of 16 MiB, [`Error::NoSpace`],
    /// [`Error::Io`].
    pub fn create(path: impl Into<PathBuf>, size: Mib, mode: Mode) -> Result<Self> {
        Self::new(path.into(), size, mode, random_uuid()?)
    }

    /// Likewise, with the same bytes each time.
    ///
    /// # Errors
    /// As [`Nvdimm::create`].
    pub fn seeded(path: impl Into<PathBuf>, size: Mib, mode: Mode, seed: u64) -> Result<Self> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self::new(path.into(), size, mode, uuid(bytes))
    }

    fn new(path: PathBuf, size: Mib, mode: Mode, uuid: [u8; 16]) -> Result<Self> {
        if size.0 == 0 || !size.0.is_multiple_of(GRANULE.0) {
            let what = format!("NVDIMM {} of {size}", path.display());
            return Err(Error::invalid(what, format!("the size must be a multiple of {GRANULE}")));
        }
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = lock(file.map_err(|error| Error::io("create", &path, error))?, &path)?;
        let io = |error| Error::io("write", &path, error);
        // Only now, under the lock: nobody loses a file in use.
        file.set_len(0).map_err(io)?;
        reserve(&file, &path, size)?;
        let block = InfoBlock::new(mode, size, uuid);
        file.write_all_at(&block.encode(), info_block::OFFSET).map_err(io)?;
        let data_offset = block.data_offset;
        Ok(Self { path, size, mode, data_offset, file })
    }

    /// Takes an NVDIMM that was made before, with what guests left in it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has no sound info block, [`Error::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = File::options().read(true).write(true).open(&path);
        Self::take(file.map_err(|error| Error::io("open", &path, error))?, path)
    }

    fn take(file: File, path: PathBuf) -> Result<Self> {
        let file = lock(file, &path)?;
        let io = |error| Error::io("read", &path, error);
        let bytes = file.metadata().map_err(io)?.len();
        let mut block = [0; info_block::SIZE];
        file.read_exact_at(&mut block, info_block::OFFSET).map_err(io)?;
        let invalid = |reason: &str| Error::invalid(format!("NVDIMM {}", path.display()), reason);
        let block = InfoBlock::decode(&block).map_err(invalid)?;
        let size = Mib::covering(bytes);
        if size.bytes() != bytes || !size.0.is_multiple_of(GRANULE.0) {
            return Err(invalid("its size is no multiple of 16 MiB"));
        }
        if block.pages != InfoBlock::new(block.mode, size, [0; 16]).pages {
            return Err(invalid("its info block speaks of another size"));
        }
        let (mode, data_offset) = (block.mode, block.data_offset);
        Ok(Self { path, size, mode, data_offset, file })
    }

    /// Makes a new, empty NVDIMM in a file without a name, as [`Nvdimm::of_image`] does.
    ///
    /// # Errors
    /// As [`Nvdimm::of_image`].
    pub(crate) fn blank(size: Mib, mode: Mode, places: &[PathBuf]) -> Result<Self> {
        let file = crate::host::memory_file(size, places)?;
        let path = PathBuf::from(crate::host::name_of(&file));
        let block = InfoBlock::new(mode, size, random_uuid()?);
        let io = |error| Error::io("write", &path, error);
        file.write_all_at(&block.encode(), info_block::OFFSET).map_err(io)?;
        Self::take(file, path)
    }

    /// Makes an NVDIMM of a whole image, in a file without a name in the first of these places
    /// that has room for it. It goes with this value, whatever ends us.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the image is none of an NVDIMM, [`Error::NoSpace`], [`Error::Io`].
    pub fn of_image(image: &[u8], places: &[PathBuf]) -> Result<Self> {
        let file = crate::host::memory_file(Mib::covering(image.len() as u64), places)?;
        let path = PathBuf::from(crate::host::name_of(&file));
        let io = |error| Error::io("write", &path, error);
        // An empty page costs nothing, here and in the guest.
        crash::image::write_to(&file, image).map_err(io)?;
        Self::take(file, path)
    }

    /// The same file by another name.
    pub(crate) fn named(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The size of the whole file.
    pub fn size(&self) -> Mib {
        self.size
    }

    /// What the guest makes of it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Where in the file the guest's device (`/dev/dax0.0` or `/dev/pmem0`) has its offset 0.
    pub fn data_offset(&self) -> u64 {
        self.data_offset
    }

    /// What a program in the guest sees of it as its device.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the info block puts it where it cannot be.
    pub fn window(&self) -> Result<Window> {
        Window::new(self.data_offset, self.size.bytes().saturating_sub(self.data_offset))
    }

    /// The open file, for a look at what a guest left.
    pub fn file(&self) -> &File {
        &self.file
    }
}

fn lock(file: File, path: &Path) -> Result<Flock<File>> {
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => {
            Error::invalid(format!("NVDIMM {}", path.display()), "another guest has it plugged in")
        }
        error => Error::io("lock", path, error.into()),
    })
}

fn reserve(file: &Flock<File>, path: &Path, size: Mib) -> Result<()> {
    let len = i64::try_from(size.bytes()).expect("MiB in 32 bits fit");
    match fallocate(&**file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        // A file system that cannot reserve: the guest may meet a full disk, but it works.
        Err(nix::errno::Errno::EOPNOTSUPP) => {
            file.set_len(size.bytes()).map_err(|error| Error::io("size", path, error))
        }
        Err(nix::errno::Errno::ENOSPC) => {
            let place = path.parent().unwrap_or(Path::new("/")).to_owned();
            let free_mib = crate::host::free_space(&place).map_or(0, |free| free.0.into());
            let what = format!("NVDIMM {}", path.display());
            Err(Error::NoSpace { place, what, need_mib: size.0.into(), free_mib })
        }
        Err(error) => Err(Error::io("reserve room for", path, error.into())),
    }
}

fn random_uuid() -> Result<[u8; 16]> {
    use std::io::Read;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Error::io("read", path, error))?;
    Ok(uuid(bytes))
}

/// Version 4, variant 1 (RFC 9562) of these bytes.
fn uuid(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_nvdimm_opens_again_with_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nv");
        let made = Nvdimm::create(&path, Mib(32), Mode::Devdax).unwrap();
        assert_eq!(made.data_offset(), 2 << 20);
        assert_eq!(made.window().unwrap(), Window::new(2 << 20, 30 << 20).unwrap());
        made.file().write_all_at(b"kept", made.data_offset()).unwrap();
        drop(made);
        let opened = Nvdimm::open(&path).unwrap();
        assert_eq!((opened.size(), opened.mode()), (Mib(32), Mode::Devdax));
        let mut bytes = [0; 4];
        opened.file().read_exact_at(&mut bytes, opened.data_offset()).unwrap();
        assert_eq!(&bytes, b"kept");
    }

    #[test]
    fn an_image_becomes_an_nvdimm_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let made = Nvdimm::create(dir.path().join("nv"), Mib(16), Mode::Fsdax).unwrap();
        made.file().write_all_at(b"end", Mib(16).bytes() - 3).unwrap();
        let image = std::fs::read(made.path()).unwrap();
        let places = [dir.path().to_owned()];
        let copy = Nvdimm::of_image(&image, &places).unwrap();
        assert_eq!((copy.size(), copy.mode()), (Mib(16), Mode::Fsdax));
        assert!(std::fs::read(copy.path()).unwrap() == image);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "it has no name");
        let error = Nvdimm::of_image(&image[..image.len() - 1], &places).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        let error = Nvdimm::of_image(&vec![0; 16 << 20], &places).unwrap_err();
        assert!(error.to_string().contains("no info block"), "{error}");
    }

    #[test]
    fn one_file_is_one_nvdimm() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nv");
        let _first = Nvdimm::create(&path, Mib(16), Mode::Fsdax).unwrap();
        for second in [Nvdimm::open(&path), Nvdimm::create(&path, Mib(16), Mode::Fsdax)] {
            assert!(second.unwrap_err().to_string().contains("another guest"), "locked");
        }
    }

    #[test]
    fn sizes_that_linux_refuses_are_refused_here() {
        let dir = tempfile::tempdir().unwrap();
        for size in [0, 8, 20] {
            let error = Nvdimm::create(dir.path().join("nv"), Mib(size), Mode::Devdax);
            assert!(error.unwrap_err().to_string().contains("multiple of 16 MiB"));
        }
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nv");
        let made = Nvdimm::create(&path, Mib(16), Mode::Fsdax).unwrap();
        made.file().write_all_at(b"x", info_block::OFFSET + 100).unwrap();
        drop(made);
        let error = Nvdimm::open(&path).unwrap_err();
        assert!(error.to_string().contains("checksum"), "{error}");
        let made = Nvdimm::create(&path, Mib(16), Mode::Fsdax).unwrap();
        made.file().set_len(Mib(32).bytes()).unwrap();
        drop(made);
        assert!(Nvdimm::open(&path).unwrap_err().to_string().contains("another size"));
    }
}
