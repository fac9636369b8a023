//! Command `image`: builds the image of a guest, or writes its lock anew.

use anyhow::Context;
use e2e::World;

use crate::cli::{ImageAction, ImageArgs};
use crate::exit::Exit;
use crate::{report, world};

use super::gate;

/// Builds or locks an image.
pub(crate) fn run(args: &ImageArgs) -> anyhow::Result<Exit> {
    gate::pass(&args.host)?;
    let mut options = world::options(&args.host)?;
    let name = args.name.as_str();
    match args.action {
        ImageAction::Build { locked } => {
            options.locked = locked;
            let world = World::new(options);
            world.prepare(name, &mut |line| println!("{line}"))?;
            let image = &world.base()?.image;
            image.verify().with_context(|| format!("verify {name}"))?;
            println!("{name}: {}, kernel {}", image.key, image.release);
        }
        ImageAction::Lock => {
            let world = World::new(options);
            let request = world.image_request(name)?;
            let lock = vm::image::resolve(&request, &mut |line| println!("{line}"));
            let lock = lock.with_context(|| format!("resolve {name}"))?;
            report::write(&request.manifest.with_extension("lock"), &lock.to_string())?;
        }
    }
    Ok(Exit::Pass)
}
