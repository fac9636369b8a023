//! Modules: which kernel modules an initial RAM disk needs, in load order.

use std::collections::{BTreeMap, BTreeSet};

/// Orders modules and their dependencies so that each comes after what it needs.
///
/// `dep` is the text of `modules.dep`, `builtin` that of `modules.builtin`; modules that are part
/// of the kernel are left out. The result are paths relative to `/lib/modules/RELEASE`.
///
/// # Errors
/// The name of a wanted module that the kernel does not have.
pub(super) fn load_order<'a>(
    dep: &'a str,
    builtin: &str,
    wanted: &[String],
) -> Result<Vec<&'a str>, String> {
    let needs: BTreeMap<&str, Vec<&str>> = dep
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, rest)| (path, rest.split_whitespace().collect()))
        .collect();
    let by_name: BTreeMap<String, &str> = needs.keys().map(|path| (name(path), *path)).collect();
    let builtin: BTreeSet<String> = builtin.lines().map(name).collect();
    let mut order = Vec::new();
    for module in wanted {
        let module = name(module);
        match by_name.get(&module) {
            Some(path) => visit(path, &needs, &mut order),
            None if builtin.contains(&module) => {}
            None => return Err(module),
        }
    }
    Ok(order)
}

fn visit<'a>(path: &'a str, needs: &BTreeMap<&'a str, Vec<&'a str>>, order: &mut Vec<&'a str>) {
    if order.contains(&path) {
        return;
    }
    // depmod writes the full closure with the first to load at the end.
    for need in needs.get(path).into_iter().flatten().rev() {
        visit(need, needs, order);
    }
    order.push(path);
}

/// The module's name: without folder and suffix, and with `_` where files may have `-`.
fn name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "k/virtio.ko: k/virtio_ring.ko\nk/virtio_ring.ko:\n\
        k/virtio-rng.ko.xz: k/virtio.ko k/virtio_ring.ko\nk/net.ko: k/failover.ko k/virtio.ko\n\
        k/failover.ko:\n";

    fn order(wanted: &[&str]) -> Result<Vec<&'static str>, String> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        load_order(DEP, "k/ext4.ko\n", &wanted)
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let order = order(&["virtio_rng", "net"]).unwrap();
        let want = ["k/virtio_ring.ko", "k/virtio.ko", "k/virtio-rng.ko.xz"];
        assert_eq!(order[..3], want);
        assert_eq!(order[3..], ["k/failover.ko", "k/net.ko"]);
    }

    #[test]
    fn builtin_modules_are_left_out_and_unknown_ones_named() {
        assert_eq!(order(&["ext4"]), Ok(vec![]));
        assert_eq!(order(&["e1000"]), Err("e1000".to_owned()));
    }
}
