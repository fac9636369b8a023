//! Power loss cases: the log's machine code at every store, flush and fence.
//!
//! What is right must never fail; each mistake that was made on purpose must.

use anyhow::{Context, ensure};
use vm::Mib;

use crate::court::{Court, Player};
use crate::mutants::{CLASSES, CORRECT, Life, Victim, mutants as all};
use crate::needs::Needs;
use crate::rig::Rig;

/// States of programs that are right, of which none may fail.
const ENOUGH: u64 = 1_000_000;

/// Lives of the library as it is, without a mistake.
const LIVES: [Life; 6] = [
    Life::Whole,
    Life::Wired,
    Life::Torn,
    Life::After(Victim::Superblock),
    Life::After(Victim::Header),
    Life::After(Victim::Entries),
];

/// Every mistake is found and its class named; what is right raises no alarm.
pub(super) fn mutants(rig: &mut Rig) -> anyhow::Result<()> {
    rig.step("build the mutants");
    let woven = rig.world().workshop()?.build()?;
    let bench = rig.boot_with_module(Needs::devdax(Mib(16)).traced(), &[])?;
    let mut court = Court::open(rig, &bench)?;
    court.summon(&woven)?;
    let mut alarms = acquit(rig, &mut court)?;
    let mut tally = [(0, 0); CLASSES.len()];
    let (mut killed, mut missed) = (0, Vec::new());
    for mutant in all() {
        rig.step(format!("mutant: {}", mutant.variant.name));
        let number = mutant.variant.number();
        let before = missed.len();
        for (life, class) in mutant.found {
            let why = || format!("{}, {life:?}", mutant.variant.name);
            let player = Player::Woven(number);
            let verdict = court.convict(*life, player, *class);
            let verdict = verdict.unwrap_or_else(|error| Err(format!("{error:#}")));
            let at = CLASSES.iter().position(|(other, ..)| other == class);
            let (total, found) = &mut tally[at.context("a class with a figure")?];
            *total += 1;
            *found += u64::from(verdict.is_ok());
            missed.extend(verdict.err().map(|said| format!("{}: {said}", why())));
        }
        killed += u64::from(missed.len() == before);
    }
    court.report(rig)?;
    for ((_, total, found), (count, count_found)) in CLASSES.into_iter().zip(tally) {
        rig.count(total, count)?;
        rig.count(found, count_found)?;
    }
    rig.count("mutants", all().count() as u64)?;
    rig.count("mutants_killed", killed)?;
    alarms.extend(missed);
    ensure!(alarms.is_empty(), "{} verdicts are wrong: {}", alarms.len(), alarms.join("\n"));
    Ok(())
}

/// The library as it is, and what is as right as it; the alarms that were raised.
fn acquit(rig: &Rig, court: &mut Court<'_>) -> anyhow::Result<Vec<String>> {
    let as_it_is = |life| ("no mistake", Player::Woven(0), life);
    let right = CORRECT.iter().flat_map(|correct| {
        let player = Player::Woven(correct.variant.number());
        correct.lives.iter().map(move |life| (correct.variant.name, player, *life))
    });
    let built = [("as it is", Player::Built, Life::Whole)];
    let mut alarms = Vec::new();
    for (name, player, life) in built.into_iter().chain(LIVES.map(as_it_is)).chain(right) {
        rig.step(format!("{name}: {life:?}"));
        let verdict = court.acquit(life, player);
        alarms.extend(verdict.err().map(|said| format!("{name}, {life:?}: {said:#}")));
    }
    let states = court.correct_states();
    ensure!(states >= ENOUGH, "only {states} states of what is right");
    Ok(alarms)
}

/// Power losses during recovery from power losses, twice over, leave what can be recovered.
pub(super) fn nested(rig: &mut Rig) -> anyhow::Result<()> {
    let bench = rig.boot(Needs::devdax(Mib(16)).traced())?;
    let mut court = Court::open(rig, &bench)?;
    rig.step("the first life");
    let first = court.acquit(Life::Whole, Player::Built)?;
    let mut lives = 0;
    for step in [6, 7, 8] {
        for pool in first.left_in(step)? {
            lives += recover_twice(rig, &mut court, &pool)?;
        }
    }
    rig.step(format!("{lives} lives"));
    court.report(rig)
}

/// Two recoveries one after the other, each begun after a power loss in the one before; how many
/// programs ran.
fn recover_twice(rig: &Rig, court: &mut Court<'_>, pool: &[u8]) -> anyhow::Result<u64> {
    let left = court.go_on(pool)?.left_in(1)?;
    rig.step(format!("{} power losses during a recovery", left.len()));
    left.iter().try_for_each(|pool| court.go_on(pool).map(drop))?;
    Ok(1 + left.len() as u64)
}
