//! Case: one end-to-end test, its guest, its deadline and its story.

use std::time::Duration;

use crate::rig::Rig;

/// What stands for the guest of a case that has none.
pub const HOST: &str = "host";

/// One end-to-end test.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `area::name`; the guest half has the same name.
    pub name: &'static str,
    /// Name of the image that its guests run.
    pub guest: &'static str,
    /// When the case counts as hanging.
    pub limit: Duration,
    /// Whether its guests run under TCG even where KVM works.
    pub emulated: bool,
    /// Whether it is played when no other is: it measures.
    pub alone: bool,
    /// What its verdict does not cover; shown in the report.
    pub remark: &'static str,
    /// The story.
    pub run: fn(&mut Rig) -> anyhow::Result<()>,
}

impl Case {
    /// A case on the default image with the default deadline.
    pub const fn new(name: &'static str, run: fn(&mut Rig) -> anyhow::Result<()>) -> Self {
        let limit = Duration::from_mins(5);
        let (emulated, alone) = (false, false);
        Self { name, guest: "debian-12", limit, emulated, alone, remark: "", run }
    }

    /// The case without a guest.
    #[must_use]
    pub const fn on_host(self) -> Self {
        Self { guest: HOST, ..self }
    }

    /// Whether the case needs an image.
    pub fn needs_guest(&self) -> bool {
        self.guest != HOST
    }

    /// The case with guests under TCG even where KVM works.
    #[must_use]
    pub const fn emulated(self) -> Self {
        Self { emulated: true, ..self }
    }

    /// The case played when no other is.
    #[must_use]
    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// The case with another deadline.
    #[must_use]
    pub const fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The case with a remark on what its verdict does not cover.
    #[must_use]
    pub const fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }
}

/// The cases that a list of filters names: `all`, a part of a name, or a whole hidden name.
///
/// # Errors
/// A filter that names nothing.
pub fn select(filters: &[String], shown: &[Case], hidden: &[Case]) -> Result<Vec<Case>, String> {
    let mut chosen: Vec<Case> = Vec::new();
    for filter in filters {
        let matches = |case: &&Case| filter == "all" || case.name.contains(filter.as_str());
        let mut hits: Vec<Case> = shown.iter().filter(matches).copied().collect();
        hits.extend(hidden.iter().filter(|case| case.name == filter.as_str()));
        if hits.is_empty() {
            return Err(format!("no case is named like {filter:?}; `test list` shows them"));
        }
        hits.retain(|hit| chosen.iter().all(|case| case.name != hit.name));
        chosen.extend(hits);
    }
    let place = |case: &Case| shown.iter().position(|other| other.name == case.name);
    chosen.sort_by_key(|case| place(case).unwrap_or(usize::MAX));
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> Case {
        Case::new(name, |_| Ok(()))
    }

    fn names(filters: &[&str]) -> Result<Vec<&'static str>, String> {
        let shown = [named("a::one"), named("a::two"), named("b::one")];
        let filters: Vec<_> = filters.iter().map(|filter| (*filter).to_owned()).collect();
        let chosen = select(&filters, &shown, &[named("inner::a")])?;
        Ok(chosen.iter().map(|case| case.name).collect())
    }

    #[test]
    fn filters_choose_by_part_of_a_name_in_the_order_of_the_suite() {
        assert_eq!(names(&["all"]).unwrap(), ["a::one", "a::two", "b::one"]);
        assert_eq!(names(&["b::", "one"]).unwrap(), ["a::one", "b::one"]);
        assert!(names(&["c::"]).unwrap_err().contains("\"c::\""));
    }

    #[test]
    fn hidden_cases_need_their_whole_name() {
        assert_eq!(names(&["inner::a"]).unwrap(), ["inner::a"]);
        assert!(names(&["inner::"]).is_err());
    }
}
