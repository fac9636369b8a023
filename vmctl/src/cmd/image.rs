//! Command `image`: builds images, writes their locks anew, and looks after the cache.

use std::fmt::Write;
use std::time::SystemTime;

use anyhow::Context;
use e2e::World;
use vm::image::store::{self, Stored};

use crate::cli::{ImageAction, ImageArgs};
use crate::exit::{Exit, Usage};
use crate::report::progress::Progress;
use crate::{env, report, world};

use super::gate;

/// How much of a key is shown: enough to be unique by far.
const SHOWN: usize = 12;

/// Does what was asked with an image or with the cache.
pub(crate) fn run(args: &ImageArgs) -> anyhow::Result<Exit> {
    let mut progress = Progress::new(false);
    let done = act(args, &mut progress);
    progress.close();
    let (said, exit) = done?;
    print!("{said}");
    Ok(exit)
}

fn act(args: &ImageArgs, progress: &mut Progress) -> anyhow::Result<(String, Exit)> {
    let done = match &args.action {
        ImageAction::Build { image, locked } => build(args, &image.name, *locked, progress)?,
        ImageAction::Lock(image) => lock(args, &image.name, progress)?,
        ImageAction::Ls => list(&store::list(&env::cache_dir()?)),
        ImageAction::Rm { keys, all } => remove(keys, *all, progress)?,
        ImageAction::Verify => return verify(progress),
    };
    Ok((done, Exit::Pass))
}

fn build(
    args: &ImageArgs,
    name: &str,
    locked: bool,
    progress: &mut Progress,
) -> anyhow::Result<String> {
    gate::pass(&args.host)?;
    let mut options = world::options(&args.host)?;
    options.locked = locked;
    let world = World::new(options);
    progress.step("looking for the image");
    world.prepare(name, &mut |line| progress.step(line))?;
    let image = &world.base()?.image;
    progress.step("comparing every file with its hash");
    image.verify().with_context(|| format!("verify {name}"))?;
    Ok(format!("{name}: {}, kernel {}\n", image.key, image.release))
}

fn lock(args: &ImageArgs, name: &str, progress: &mut Progress) -> anyhow::Result<String> {
    gate::pass(&args.host)?;
    let world = World::new(world::options(&args.host)?);
    progress.step("building the guest programs");
    let request = world.image_request(name)?;
    let lock = vm::image::resolve(&request, &mut |line| progress.step(line));
    let lock = lock.with_context(|| format!("resolve {name}"))?;
    let path = request.manifest.with_extension("lock");
    report::write(&path, &lock.to_string())?;
    Ok(format!("{name}: locked in {}\n", path.display()))
}

fn list(stored: &[Stored]) -> String {
    let now = SystemTime::now();
    let mut text = format!("{:<SHOWN$}  {:<8} {:>8}  last used\n", "key", "what", "MiB");
    for Stored { kind, key, bytes, used, .. } in stored {
        let what = kind.trim_end_matches('s');
        let ago = now.duration_since(*used).unwrap_or_default().as_secs();
        let ago = match (ago / 86_400, ago / 3600) {
            (0, 0) => "within the hour".to_owned(),
            (0, hours) => format!("{hours} h ago"),
            (days, _) => format!("{days} d ago"),
        };
        let mib = bytes.div_ceil(1 << 20);
        let _ = writeln!(text, "{:<SHOWN$}  {what:<8} {mib:>8}  {ago}", shown(key));
    }
    text
}

fn shown(key: &str) -> &str {
    key.get(..SHOWN).unwrap_or(key)
}

fn remove(keys: &[String], all: bool, progress: &mut Progress) -> anyhow::Result<String> {
    let cache = env::cache_dir()?;
    let chosen = choose(&store::list(&cache), keys, all).map_err(Usage)?;
    progress.step("removing");
    store::remove(&cache, &chosen, &mut |line| progress.step(line)).context("remove")?;
    let bytes: u64 = chosen.iter().map(|stored| stored.bytes).sum();
    Ok(format!("removed {}, {} MiB\n", chosen.len(), bytes.div_ceil(1 << 20)))
}

/// The entries whose keys begin like these; each must mean exactly one.
fn choose(stored: &[Stored], keys: &[String], all: bool) -> Result<Vec<Stored>, String> {
    if all {
        return Ok(stored.to_vec());
    }
    let mut chosen: Vec<Stored> = Vec::new();
    for key in keys {
        let mut hits = stored.iter().filter(|stored| stored.key.starts_with(key.as_str()));
        match (hits.next().filter(|_| !key.is_empty()), hits.next()) {
            (Some(hit), None) if chosen.contains(hit) => {}
            (Some(hit), None) => chosen.push(hit.clone()),
            (None, _) => return Err(format!("no key begins with {key:?}; `image ls` shows them")),
            (Some(_), Some(_)) => return Err(format!("more than one key begins with {key:?}")),
        }
    }
    Ok(chosen)
}

fn verify(progress: &mut Progress) -> anyhow::Result<(String, Exit)> {
    let cache = env::cache_dir()?;
    let (mut text, mut damaged) = (String::new(), 0);
    let stored = store::list(&cache);
    for entry in &stored {
        let name = format!("{} {}", entry.kind.trim_end_matches('s'), shown(&entry.key));
        progress.step(&format!("comparing every file of {name} with its hash"));
        if let Err(error) = entry.verify(&cache) {
            damaged += 1;
            let _ = writeln!(text, "{name}: {error}; remove it: vmctl image rm {}", entry.key);
        }
    }
    let _ = writeln!(text, "{} whole, {damaged} damaged", stored.len() - damaged);
    Ok((text, if damaged == 0 { Exit::Pass } else { Exit::Failed }))
}
